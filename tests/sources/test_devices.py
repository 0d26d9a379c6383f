"""Listing cameras."""

import json
import sys
from pathlib import Path

import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.sources.devices import (
    CameraInfo,
    _output,
    list_linux,
    parse_macos,
    parse_windows,
    resolve_camera,
)


def _node(folder: Path, number: int, index: str, name: str) -> None:
    node = folder / f"video{number}"
    node.mkdir(parents=True)
    (node / "index").write_text(index + "\n")
    (node / "name").write_text(name + "\n")


def test_linux_lists_the_first_node_of_each_device(tmp_path: Path) -> None:
    _node(tmp_path, 10, "0", "Loopback")
    _node(tmp_path, 0, "0", "HD Webcam")
    _node(tmp_path, 1, "1", "HD Webcam")
    assert list_linux(tmp_path) == [
        CameraInfo(index=0, name="HD Webcam"),
        CameraInfo(index=10, name="Loopback"),
    ]


def test_linux_without_video_devices_lists_none(tmp_path: Path) -> None:
    assert list_linux(tmp_path / "missing") == []


def test_macos_and_windows_answers_are_read() -> None:
    assert parse_macos('{"SPCameraDataType": [{"_name": "FaceTime HD"}]}')[0].name == "FaceTime HD"
    assert [c.name for c in parse_windows('[{"Name": "A"}, {"Name": "B"}]')] == ["A", "B"]
    assert [c.name for c in parse_windows('{"Name": "Only"}')] == ["Only"]
    assert parse_windows("") == parse_macos("") == []


def test_an_answer_that_is_no_list_of_cameras_lists_none() -> None:
    assert parse_windows("Get-CimInstance : access denied") == parse_macos("[]") == []


def test_a_camera_may_have_a_name_in_any_letters() -> None:
    name = "Webcam für 会議"
    say = f"import sys; sys.stdout.buffer.write({json.dumps({'Name': name}).encode('utf-8-sig')!r})"
    assert [c.name for c in parse_windows(_output([sys.executable, "-c", say]))] == [name]
    garbled = "import sys; sys.stdout.buffer.write(b'\\x81')"
    assert parse_windows(_output([sys.executable, "-c", garbled])) == []


def test_an_index_beyond_the_list_is_still_tried() -> None:
    assert resolve_camera("3", list).index == 3


def test_without_cameras_the_error_offers_a_file() -> None:
    with pytest.raises(EngineError, match="plug one in, or play a file with --source PATH"):
        resolve_camera("logi", list)
