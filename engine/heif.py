"""Read HEIC and AVIF pictures, as phones and browsers write them: one image, or a grid of tiles.

Boxes are those of ISO/IEC 14496-12 (container) and 23008-12 (HEIF); PyAV decodes the tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mimicam.engine.display_matrix import upright
from mimicam.engine.types import Float, Image

_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc", b"avif", b"avis", b"miaf"}
_CODECS = {b"hvc1": ("hevc", b"hvcC"), b"av01": ("libdav1d", b"av1C")}
"""Decoder and box of its configuration, by type of item."""
_TILES_MAX = 1024
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_FULL_TURN = 4


def is_heif(data: bytes) -> bool:
    """Whether the file is a HEIC or AVIF picture."""
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return any(brands[at : at + 4] in _BRANDS for at in range(0, len(brands), 4))


def heif_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) as stated, before the picture is turned; (0, 0) if it is cut off."""
    try:
        meta = _Meta(data)
        return meta.size(meta.primary)
    except (ValueError, IndexError, KeyError):
        return 0, 0


def decode_heif(data: bytes, max_pixels: int) -> tuple[Image, Float | None]:
    """Decode the main picture.

    Args:
        data: the file's bytes.
        max_pixels: a tile that turns out to be larger is refused, whatever its header states.

    Returns:
        RGB ``[H, W, 3]``, upright, and its opacity ``[H, W]`` in 0..1, or None.

    Raises:
        ValueError: it is damaged or cut off.
    """
    import av  # here, since a machine that only trains or measures need not have it

    try:
        meta = _Meta(data)
        image = _item(meta, meta.primary, max_pixels)
        found = next((i for i in meta.auxiliaries(meta.primary) if meta.is_alpha(i)), None)
        alpha = None if found is None else _item(meta, found, max_pixels)[:, :, 0]
    except (IndexError, KeyError, av.error.FFmpegError, RecursionError) as error:
        raise ValueError(str(error)) from error
    turn = meta.display_matrix(meta.primary)
    if alpha is None or alpha.shape != image.shape[:2]:
        return upright(image, turn), None
    stacked = upright(np.dstack([image, alpha]), turn)
    opacity: Float = stacked[:, :, 3].astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(stacked[:, :, :3]), opacity


def _item(meta: _Meta, item: int, max_pixels: int) -> Image:
    if meta.types[item] != b"grid":
        return _tile(meta, item, max_pixels)
    head = _Bytes(meta.content(item))
    _, flags, rows, columns = (head.number(1) for _ in range(4))
    # Sizes have 16 or 32 bits (ISO 23008-12, 6.6.2.3).
    wide = 4 if flags & 1 else 2
    width, height = head.number(wide), head.number(wide)
    tiles = meta.references.get((b"dimg", item), [])
    rows, columns = rows + 1, columns + 1
    if len(tiles) != rows * columns or len(tiles) > _TILES_MAX or width * height > max_pixels:
        raise ValueError("its grid is damaged")
    first = _tile(meta, tiles[0], max_pixels)
    # All tiles have one size (the same section), so the first one is enough.
    side_y, side_x = first.shape[:2]
    if side_y * rows < height or side_x * columns < width:
        raise ValueError("its tiles do not cover it")
    out = np.zeros((height, width, 3), np.uint8)
    for number, tile in enumerate(tiles):
        picture = first if number == 0 else _tile(meta, tile, max_pixels)
        top, left = number // columns * side_y, number % columns * side_x
        place = out[top : top + side_y, left : left + side_x]
        place[:] = picture[: place.shape[0], : place.shape[1]]
    return out


def _tile(meta: _Meta, item: int, max_pixels: int) -> Image:
    import av
    from av.video.reformatter import Colorspace, VideoReformatter

    from mimicam.engine.video_container import to_rgb

    codec, box = _CODECS[meta.types[item]]
    context: Any = av.CodecContext.create(codec, "r")  # a decoder of pictures, which has `decode`
    # The decoder refuses before it allocates.
    context.options = {"max_pixels": str(max_pixels)}
    context.extradata = meta.property(item, box)
    frames = [*context.decode(av.Packet(meta.content(item))), *context.decode(None)]
    if not frames:
        raise ValueError("it holds no picture")
    frame = frames[0]
    # Without a statement, stills have the full range and BT.601's matrix (MIAF, 7.3.6.4).
    code, full = int(frame.colorspace), frame.color_range != 1
    stated = meta.property(item, b"colr", b"nclx")
    if len(stated) >= 11:
        code, full = int.from_bytes(stated[8:10], "big"), bool(stated[10] & 0x80)
    return to_rgb(
        VideoReformatter(),
        frame,
        (frame.width, frame.height),
        code=code,
        usual=Colorspace.ITU601,
        full_range=full,
    )


class _Bytes:
    """Reads big-endian numbers one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            ValueError: there are fewer.
        """
        if count < 0 or self.at + count > len(self.data):
            raise ValueError("it is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        """Return the next number of ``count`` bytes."""
        return int.from_bytes(self.take(count), "big")

    def head(self) -> tuple[int, int]:
        """Return version and flags of a full box."""
        return self.number(1), self.number(3)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the boxes in ``data``."""
    reader = _Bytes(data)
    while reader.at + 8 <= len(data):
        size, kind = reader.number(4), reader.take(4)
        head = 8
        # 64-bit size behind the type (ISO 14496-12, 4.2).
        if size == 1:
            size, head = reader.number(8), 16
        rest = len(data) - reader.at
        yield kind, reader.take(rest if size == 0 else min(size - head, rest))


@dataclass
class _Place:
    """Position of an item's bytes in the file."""

    in_idat: bool
    extents: list[tuple[int, int]] = field(default_factory=list)


class _Meta:
    """The table of a file's items."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        top = dict(_boxes(data))
        boxes = dict(_boxes(top[b"meta"][4:]))
        self._idat = boxes.get(b"idat", b"")
        pitm = _Bytes(boxes[b"pitm"])
        self.primary = pitm.number(2 if pitm.head()[0] == 0 else 4)
        self.types = dict(_item_types(boxes[b"iinf"]))
        self._places = dict(_places(boxes[b"iloc"]))
        self.references = dict(_references(boxes.get(b"iref", b"\0\0\0\0")))
        properties = dict(_boxes(boxes[b"iprp"]))
        self._properties = list(_boxes(properties[b"ipco"]))
        self._associations = dict(_associations(properties[b"ipma"]))

    def content(self, item: int) -> bytes:
        """Return an item's bytes."""
        place = self._places[item]
        source = self._idat if place.in_idat else self._data
        parts = []
        for at, length in place.extents:
            part = source[at : at + length] if length else source[at:]
            if length and len(part) != length:
                raise ValueError("it is cut off")
            parts.append(part)
        return b"".join(parts)

    def property(self, item: int, kind: bytes, start: bytes = b"") -> bytes:
        """Return the item's property of a type; empty if it has none."""
        found = (content for k, content in self._of(item) if k == kind and content.startswith(start))
        return next(found, b"")

    def size(self, item: int) -> tuple[int, int]:
        """Return width and height as stated."""
        stated = _Bytes(self.property(item, b"ispe"))
        stated.head()
        return stated.number(4), stated.number(4)

    def display_matrix(self, item: int) -> tuple[int, int, int, int]:
        """Return how the picture is turned and mirrored, as `upright` takes it."""
        matrix = np.eye(2, dtype=int)
        for kind, content in self._of(item):
            if kind == b"irot":
                # One quarter turn counter-clockwise: shown_x = y, shown_y = -x.
                for _ in range(content[0] % _FULL_TURN):
                    matrix = np.array([[0, 1], [-1, 0]]) @ matrix
            elif kind == b"imir":
                # Axis 0 mirrors top and bottom, axis 1 left and right.
                flip = [[1, 0], [0, -1]] if content[0] & 1 == 0 else [[-1, 0], [0, 1]]
                matrix = np.array(flip) @ matrix
        (a, c), (b, d) = matrix.tolist()
        return a, b, c, d

    def auxiliaries(self, item: int) -> list[int]:
        """Return the items that belong to ``item``, such as its opacity."""
        return [child for (kind, child), of in self.references.items() if kind == b"auxl" and item in of]

    def is_alpha(self, item: int) -> bool:
        """Whether an auxiliary item is an opacity."""
        return self.property(item, b"auxC")[4:].split(b"\0")[0] in _ALPHA

    def _of(self, item: int) -> list[tuple[bytes, bytes]]:
        return [self._properties[index - 1] for index in self._associations.get(item, []) if index]


def _item_types(iinf: bytes) -> Iterator[tuple[int, bytes]]:
    reader = _Bytes(iinf)
    reader.take(2 if reader.head()[0] == 0 else 4)
    for kind, content in _boxes(iinf[reader.at :]):
        entry = _Bytes(content)
        version, _ = entry.head()
        if kind == b"infe" and version >= 2:
            item = entry.number(2 if version == 2 else 4)
            entry.take(2)
            yield item, entry.take(4)


def _places(iloc: bytes) -> Iterator[tuple[int, _Place]]:
    reader = _Bytes(iloc)
    version, _ = reader.head()
    sizes = reader.number(1)
    offset, length = sizes >> 4, sizes & 15
    sizes = reader.number(1)
    base, index = sizes >> 4, sizes & 15 if version else 0
    wide = 4 if version == 2 else 2
    for _ in range(reader.number(wide)):
        item = reader.number(wide)
        place = _Place(in_idat=bool(version) and reader.number(2) & 15 == 1)
        reader.take(2)
        start = reader.number(base)
        for _ in range(reader.number(2)):
            reader.take(index)
            at = start + reader.number(offset)
            place.extents.append((at, reader.number(length)))
        yield item, place


def _references(iref: bytes) -> Iterator[tuple[tuple[bytes, int], list[int]]]:
    wide = 2 if iref[0] == 0 else 4
    for kind, content in _boxes(iref[4:]):
        reader = _Bytes(content)
        item = reader.number(wide)
        yield (kind, item), [reader.number(wide) for _ in range(reader.number(2))]


def _associations(ipma: bytes) -> Iterator[tuple[int, list[int]]]:
    reader = _Bytes(ipma)
    version, flags = reader.head()
    for _ in range(reader.number(4)):
        item = reader.number(4 if version else 2)
        wide = 2 if flags & 1 else 1
        mask = 0x7FFF if wide == 2 else 0x7F  # the first bit states that the property is essential
        yield item, [reader.number(wide) & mask for _ in range(reader.number(1))]
