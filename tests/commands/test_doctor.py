"""What the doctor finds, and what it tells people to do."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mimicam.engine import doctor
from mimicam.engine.commands import main
from mimicam.engine.doctor import Check, import_remedy, make_test_picture
from mimicam.engine.errors import EngineError
from mimicam.engine.sources.devices import CameraInfo
from mimicam.engine.sources.pattern import read_code

CAMERA = [CameraInfo(index=0, name="HD Webcam")]


@pytest.fixture
def _healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimicam.engine.sources.devices.list_cameras", lambda: CAMERA)
    monkeypatch.setattr(doctor, "_virtual_camera", lambda: iter(()))
    monkeypatch.setattr(
        "mimicam.engine.assets_manifest.problems", list
    )  # tests/cli/test_assets.py looks at those


def _find(name: str) -> Check:
    return next(check for check in doctor.examine() if check.name == name)


@pytest.mark.usefixtures("_healthy")
def test_with_everything_there_the_main_job_can_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["can_run"] is True
    assert {"python", "openvino", "bundled files", "backend", "processor", "camera"} <= {
        check["name"] for check in answer["checks"]
    }


@pytest.mark.usefixtures("_healthy")
def test_without_a_camera_the_main_job_cannot_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mimicam.engine.sources.devices.list_cameras", list)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "missing  camera: this machine shows none" in out
    assert "-> plug one in" in out


@pytest.mark.usefixtures("_healthy")
@pytest.mark.parametrize(
    ("works", "command"),
    [
        ("virtual camera v4l2loopback", "mimicam run"),
        ("window", "mimicam run --sink window"),
        ("nothing", "mimicam run --sink file:OUT.mp4"),
    ],
)
def test_the_last_line_is_the_command_that_works_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], works: str, command: str
) -> None:
    found = Check(name=works, ok=True, required=False, detail="")
    missing = Check(name="virtual camera obs", ok=False, required=False, detail="")
    monkeypatch.setattr(doctor, "_virtual_camera", lambda: iter((missing,)))
    monkeypatch.setattr(doctor, "_window", lambda: iter((found,)))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"ready: {command}"


@pytest.mark.usefixtures("_healthy")
def test_a_changed_file_is_named_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mimicam.engine.assets_manifest.problems", lambda: ["compact/encoder.bin was changed"]
    )
    check = _find("bundled files")
    assert not check.ok
    assert check.required
    assert "compact/encoder.bin was changed" in check.detail
    assert check.remedy.startswith("pip install --force-reinstall")


@pytest.mark.usefixtures("_healthy")
def test_the_backend_line_says_what_auto_chooses_and_why() -> None:
    detail = _find("backend").detail
    assert "auto chooses openvino" in detail
    assert ": the compact model" in detail


@pytest.mark.usefixtures("_healthy")
def test_a_model_that_does_not_load_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise EngineError("the generator lacks a file")

    monkeypatch.setattr("mimicam.engine.models.load.load_model", refuse)
    assert main(["doctor"]) == 1


@pytest.mark.usefixtures("_healthy")
def test_a_missing_package_ends_the_examination_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_numpy(name: str, module: str) -> Check:
        return Check(name=name, ok=module != "av", required=True, detail="", remedy=f"pip install {name}")

    monkeypatch.setattr(doctor, "_package", only_numpy)
    checks = doctor.examine()
    assert [check.remedy for check in checks if not check.ok] == ["pip install av"]
    assert "camera" not in {check.name for check in checks}


def test_missing_system_libraries_are_named_with_their_package() -> None:
    error = "libGL.so.1: cannot open shared object file: No such file or directory"
    assert import_remedy("opencv-python", error) == "sudo apt install libgl1"
    assert import_remedy("opencv-python", "libgthread-2.0.so.0: cannot") == "sudo apt install libglib2.0-0"
    assert import_remedy("av", "No module named 'av'") == "pip install av"


class Loopback:
    """A virtual camera whose device gives back what was sent."""

    device = "/dev/video10"

    def __init__(self, *, garble: bool) -> None:
        self.garble, self.closed = garble, False
        self.sent: Any = None

    def send(self, picture: Any) -> None:
        self.sent = picture * 0 if self.garble else picture

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    camera = Loopback(garble=False)

    class Capture:
        def __init__(self, *_: object) -> None:
            pass

        def read(self) -> tuple[bool, Any]:
            while camera.sent is None:
                pass
            return True, camera.sent

        def release(self) -> None:
            pass

    monkeypatch.setattr("mimicam.engine.sinks.virtual_camera.open_camera", lambda *_: camera)
    monkeypatch.setattr("cv2.VideoCapture", Capture)
    yield camera
    assert camera.closed, "the device was not let go"


def test_the_self_test_reads_its_picture_back(loopback: Loopback) -> None:
    assert loopback
    assert doctor.self_test() is True


def test_the_self_test_notices_another_picture(loopback: Loopback) -> None:
    loopback.garble = True
    assert doctor.self_test() is False


def test_a_camera_without_a_path_cannot_be_read_back(loopback: Loopback) -> None:
    loopback.device = "OBS Virtual Camera"
    assert doctor.self_test() is None


def test_the_test_picture_carries_its_number() -> None:
    assert read_code(make_test_picture()) == doctor._TEST_CODE
    assert read_code(np.zeros_like(make_test_picture())) != doctor._TEST_CODE


def test_gpu_absence_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    found = next(doctor._gpu())
    assert not found.required
    assert replace(found, ok=True).detail.endswith("the CPU does the work")
