"""Marks of results: what is written is read again, as other programs read it too."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimicam.engine.picture_header import PNG, jpeg_segments, picture_chunks
from mimicam.engine.provenance import (
    ANIMATED,
    EDITED,
    SOURCE_TYPE,
    Provenance,
    read_tags,
    read_xmp,
    this_program,
)
from mimicam.engine.web.protocol import STATIC
from mimicam.engine.xmp import append_xmp, with_xmp, xmp_of, xmp_of_boxes

WHOLE = replace(EDITED, source="a" * 64, drivers=("b" * 64, "0" * 64), model="d" * 64)
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def _encoded(suffix: str) -> bytes:
    noise = np.random.default_rng(3).integers(0, 256, (33, 47, 3), np.uint8)
    ok, data = cv2.imencode(suffix, noise)
    assert ok
    return data.tobytes()


def _pixels(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    "marks",
    [
        WHOLE, ANIMATED, replace(ANIMATED, model="e" * 64, live="driver"),
        replace(WHOLE, covered={"mouth": 12, "eyes": 3}, driver_covered={}), replace(ANIMATED, covered={"eyes": 1}),
    ],
)  # fmt: skip
def test_marks_are_read_as_they_were_written(marks: Provenance) -> None:
    assert read_xmp(marks.xmp.decode()) == replace(marks, tool=this_program())
    assert read_tags({"Comment": marks.comment}) == replace(marks, tool="mimicam")
    assert read_tags(marks.tags) == replace(marks, tool="mimicam")


def test_the_packet_is_xml_with_iptcs_term() -> None:
    root = ET.fromstring(WHOLE.xmp.decode().removeprefix("\ufeff"))
    (description,) = (node for node in root.iter() if node.tag.endswith("}Description"))
    assert description.get(IPTC) == SOURCE_TYPE


def test_the_studios_page_writes_the_same_term() -> None:
    assert SOURCE_TYPE in (STATIC / "provenance.js").read_text("utf-8")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_carries_its_marks_and_keeps_its_pixels(suffix: str) -> None:
    plain = _encoded(suffix)
    marked = with_xmp(plain, WHOLE.xmp)
    assert xmp_of(plain) == ""
    assert xmp_of(marked) == WHOLE.xmp.decode()
    np.testing.assert_array_equal(_pixels(marked), _pixels(plain))


def test_the_formats_stay_whole() -> None:
    png, webp, jpeg = (with_xmp(_encoded(suffix), WHOLE.xmp) for suffix in (".png", ".webp", ".jpg"))
    assert [kind for kind, _ in picture_chunks(png, len(PNG), ">")][:2] == [b"IHDR", b"iTXt"]
    assert int.from_bytes(webp[4:8], "little") == len(webp) - 8, "the size of a RIFF counts all of it"
    assert [kind for kind, _ in picture_chunks(webp, 12, "<")] == [b"VP8X", b"VP8L", b"XMP "]
    assert [marker for marker, _ in jpeg_segments(jpeg)][:2] == [0xE0, 0xE1], "JFIF's segment comes first"


def test_a_format_without_a_place_stays_as_it_is() -> None:
    assert with_xmp(_encoded(".bmp"), WHOLE.xmp) == _encoded(".bmp")


def test_a_box_is_found_behind_others_of_any_length() -> None:
    file = io.BytesIO()
    file.write(bytes.fromhex("00000014") + b"ftyp" + b"isom" + bytes(8))
    file.write(bytes.fromhex("00000001") + b"mdat" + (24).to_bytes(8, "big") + bytes(8))
    append_xmp(file, WHOLE.xmp)
    assert xmp_of_boxes(file) == WHOLE.xmp.decode()


@pytest.mark.parametrize(
    "damage", [b"", b"\0" * 40, b"\0\0\0\4uuid" + b"\0" * 30, b"\xff\xff\xff\xffmdat" + b"\0" * 40]
)
def test_boxes_that_are_none_hold_nothing(damage: bytes) -> None:
    assert xmp_of_boxes(io.BytesIO(damage)) == ""


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_that_is_cut_off_anywhere_is_read_without_error(suffix: str) -> None:
    marked = with_xmp(_encoded(suffix), WHOLE.xmp)
    for length in range(0, len(marked), 7):
        read_xmp(xmp_of(marked[:length]))


@pytest.mark.parametrize(
    "packet",
    [
        f'<rdf:Description a:DigitalSourceType="{SOURCE_TYPE}" xmp:CreatorTool="Other 2"/>',
        f"<a:DigitalSourceType>{SOURCE_TYPE}</a:DigitalSourceType><xmp:CreatorTool>Other 2</xmp:CreatorTool>",
        f"<a:DigitalSourceType rdf:resource=\"{SOURCE_TYPE}\"/><b xmp:CreatorTool = 'Other 2'/>",
    ],
)
def test_marks_of_other_programs_are_read_but_are_not_mimicams(packet: str) -> None:
    marks = read_xmp(packet)
    assert marks == Provenance(tool="Other 2", source_type=SOURCE_TYPE)
    assert not marks.by_mimicam


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "<script>"),
        ("source", "A" * 64),
        ("source", "a" * 63),
        ("model", "../../etc"),
        ("live", "everybody"),
        ("source_type", "javascript:alert(1)"),
        ("source_type", "http://x/\x1b[2J"),
    ],
)
def test_a_forged_value_of_another_form_counts_as_none(name: str, value: str) -> None:
    forged = replace(WHOLE, **{name: value})
    for marks in (read_xmp(forged.xmp.decode()), read_tags(forged.tags)):
        assert marks is not None
        assert getattr(marks, name) == ""


@pytest.mark.parametrize("counts", [{"<b>": 3}, {"mouth": -1}, {"mouth": 10**12}])
def test_forged_counts_of_another_form_count_as_none(counts: dict[str, int]) -> None:
    forged = replace(WHOLE, covered=counts)
    for marks in (read_xmp(forged.xmp.decode()), read_tags(forged.tags)):
        assert marks is not None
        assert marks.covered is None


def test_a_note_with_control_characters_is_left_out() -> None:
    marks = read_xmp(replace(WHOLE, note="Edited\x1b[2J").xmp.decode())
    assert marks is not None
    assert marks.note == ""


def test_a_comment_with_control_characters_is_left_out() -> None:
    tags = dict(WHOLE.tags)
    tags["comment"] = tags["comment"].replace("an expression", "\x1b[2Jn expression")
    marks = read_tags(tags)
    assert marks is not None
    assert (marks.source_type, marks.note, marks.by_mimicam) == (SOURCE_TYPE, "", False)
    del tags["DIGITAL_SOURCE_TYPE"]
    found = read_tags(tags)
    assert found is None or found.note == ""


def test_files_without_marks_state_nothing() -> None:
    assert read_tags({"comment": "a holiday", "encoder": "Lavf"}) is None
    assert read_xmp("") is None
    assert read_xmp('<rdf:Description xmp:CreatorTool="Other"/>') is None


def test_a_written_picture_is_marked(tmp_path: Path) -> None:
    from mimicam.engine.render import write_picture
    from mimicam.engine.verify import read_marks

    for name in ("a.png", "a.jpg", "a.webp"):
        write_picture(tmp_path / name, np.full((20, 30, 3), 99, np.uint8), WHOLE)
        assert read_marks(tmp_path / name) == replace(WHOLE, tool=this_program())
