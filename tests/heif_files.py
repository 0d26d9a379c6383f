"""Write HEIC pictures for tests: one image or a grid of tiles, as phones do."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import av

from mimicam.engine.types import Image


def write_heic(
    image: Image, *, tile: int | None = None, turns: int = 0, mirror: int | None = None, claims: Any = None
) -> bytes:
    """Return a HEIC file.

    Args:
        image: RGB with sides that are multiples of ``tile``, or even.
        tile: side of the grid's tiles; None writes one image.
        turns: quarter turns counter-clockwise that the file asks for.
        mirror: 0 asks for a flip top to bottom, 1 for one left to right.
        claims: (width, height) that the file states instead of its own.
    """
    height, width = image.shape[:2]
    side_y, side_x = (tile, tile) if tile else (height, width)
    cuts = [
        image[top : top + side_y, left : left + side_x]
        for top in range(0, height, side_y)
        for left in range(0, width, side_x)
    ]
    coded = [_encoded(cut) for cut in cuts]
    shown = claims or (width, height)
    properties = [
        _box(b"hvcC", coded[0][0]),
        _full(b"ispe", struct.pack(">II", side_x, side_y)),
        _full(b"ispe", struct.pack(">II", *shown)),
        _box(b"irot", bytes([turns])),
        _box(b"imir", bytes([mirror or 0])),
    ]
    turned = [4] if turns else []
    turned += [5] if mirror is not None else []
    items: list[tuple[int, bytes, bytes, list[int]]] = []
    if tile:
        rows, columns = height // tile, width // tile
        grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *shown)
        items.append((1, b"grid", grid, [3, *turned]))
        items += [(2 + n, b"hvc1", data, [1, 2]) for n, (_, data) in enumerate(coded)]
    else:
        items.append((1, b"hvc1", coded[0][1], [1, 3, *turned]))
    return _file(items, properties)


def _encoded(image: Image) -> tuple[bytes, bytes]:
    """Return configuration (hvcC) and length-prefixed units of one HEVC picture."""
    context: Any = av.CodecContext.create("libx265", "w")
    context.height, context.width = image.shape[:2]
    context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 25), Fraction(25)
    context.color_range = 2
    context.options = {"x265-params": "log-level=none:crf=4"}
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame = frame.reformat(format="yuv420p", src_color_range=2, dst_color_range=2, dst_colorspace=5)
    stream = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    units = [unit.rstrip(b"\0") for unit in stream.split(b"\0\0\1") if unit.strip(b"\0")]
    sets = [unit for unit in units if unit[0] >> 1 & 63 in (32, 33, 34)]
    arrays = b"".join(struct.pack(">BHH", unit[0] >> 1 & 63, 1, len(unit)) + unit for unit in sets)
    configuration = b"\1" + b"\0" * 20 + bytes([3, len(sets)]) + arrays
    return configuration, b"".join(struct.pack(">I", len(unit)) + unit for unit in units if unit not in sets)


def _file(items: list[tuple[int, bytes, bytes, list[int]]], properties: list[bytes]) -> bytes:
    head = _box(b"ftyp", b"heic\0\0\0\0mif1heic")
    size = len(_meta(items, properties, 0))
    return (
        head
        + _meta(items, properties, len(head) + size + 8)
        + _box(b"mdat", b"".join(data for _, _, data, _ in items))
    )


def _meta(items: list[tuple[int, bytes, bytes, list[int]]], properties: list[bytes], start: int) -> bytes:
    infos = b"".join(
        _full(b"infe", struct.pack(">HH4s", item, 0, kind) + b"\0", version=2) for item, kind, _, _ in items
    )
    places, at = b"", start
    for item, _, data, _ in items:
        places += struct.pack(">HHHII", item, 0, 1, at, len(data))
        at += len(data)
    uses = b"".join(
        struct.pack(">HB", item, len(indices)) + bytes(0x80 | index for index in indices)
        for item, _, _, indices in items
    )
    tiles = [item for item, _, _, _ in items[1:]]
    refs = _box(b"dimg", struct.pack(f">HH{len(tiles)}H", 1, len(tiles), *tiles)) if tiles else b""
    return _full(
        b"meta",
        _full(b"hdlr", b"\0" * 4 + b"pict" + b"\0" * 13)
        + _full(b"pitm", struct.pack(">H", 1))
        + _full(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + places)
        + _full(b"iinf", struct.pack(">H", len(items)) + infos)
        + _full(b"iref", refs)
        + _box(
            b"iprp",
            _box(b"ipco", b"".join(properties)) + _full(b"ipma", struct.pack(">I", len(items)) + uses),
        ),
    )


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _full(kind: bytes, content: bytes, *, version: int = 0) -> bytes:
    return _box(kind, bytes([version, 0, 0, 0]) + content)
