"""The command line: its frozen contract, its exit codes, its one-line errors."""

import dataclasses
import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import mimicam.engine.commands
from mimicam.engine.commands import gather_repeats, main, registry
from mimicam.engine.commands.registry import COMMANDS, ENTRY_POINTS
from mimicam.engine.sources.devices import CameraInfo
from tests.videos import grey, write_video

OPTIONS = {
    "run": {
        "source", "portrait", "mode", "sink", "backend", "model", "fps", "seconds", "size",
        "expression_gain", "eyes_gain", "brows_gain", "mouth_gain", "jaw_gain", "pose_gain", "expression_motion",
        "response", "pose_motion", "covered", "mirror", "loop", "preset", "osc",
    },
    "render": {
        "portrait", "driving", "out", "mode", "backend", "model", "size", "expression_gain", "eyes_gain",
        "brows_gain", "mouth_gain", "jaw_gain", "pose_gain", "expression_motion", "response", "pose_motion", "covered",
        "mirror", "aligned", "badge", "badge_picture",
    },
    "edit": {
        "source", "out", "driver", "driver_length", "preset", "strength", "keyframes", "start", "end", "face", "crop",
        "driver_for", "lossless", "badge", "badge_picture",
        "list_faces", "dry_run", "backend", "model", "mode", "expression_gain", "pose_gain", "expression_motion",
        "pose_motion", "covered", "mirror",
    },
    "batch": {"jobs", "workers", "ray", "segment", "results", "backend", "model"},
    "report": {"folder", "out", "inputs"},
    "verify": {"files", "source", "driver", "model", "json"},
    "demo": {
        "out", "expression_gain", "eyes_gain", "brows_gain", "mouth_gain", "jaw_gain", "pose_gain",
        "expression_motion", "response", "pose_motion", "covered", "mirror",
    },
    "enroll": {"portrait", "out", "model"},
    "retrieve": {"query", "gallery", "count", "by", "model", "backend", "index", "json", "sheet"},
    "devices": {"json"},
    "doctor": {"json"},
    "models list": set(),
    "models verify": set(),
    "models import": {"file", "out"},
    "preset record": {"name", "origin", "face", "key", "replaces", "attack", "release", "force"},
    "preset list": set(),
    "preset show": {"name"},
}  # fmt: skip
"""A new option is a decision: it is written here too."""

NO_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Blocked())
"""


def test_the_options_are_the_contract() -> None:
    have = {
        point.name.replace(".", " "): {f.name for f in dataclasses.fields(point.load())} for point in COMMANDS
    }
    assert have == OPTIONS


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["models", "--help"], ["--version"]])
def test_help_and_version_are_done(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "mimicam" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["run", "--fast"], ["dance"], ["render", "a.png"], ["models", "burn"]])
def test_a_wrong_command_line_is_refused(arguments: list[str]) -> None:
    assert main(arguments) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--sink", "null", "--size", "big"], "--size must be WxH"),
        (["run", "--sink", "null", "--size", "641x480"], "--size must be even"),
        (["run", "--sink", "null", "--fps", "0"], "--fps must lie"),
        (["run", "--sink", "null", "--seconds", "-1"], "--seconds must be positive"),
        (["run", "--sink", "moon"], "there is no sink 'moon'; choose virtual-camera"),
        (["run", "--sink", "null", "null"], "different sinks"),
        (["run", "--sink", "file:out.docx"], "names no video format"),
        (["run", "--sink", "null", "--pose-gain", "9"], "--pose-gain must lie between 0 and 1.5, not 9"),
        (
            ["run", "--sink", "null", "--preset", "smile"],
            "must have the form NAME=VALUE",
        ),
        (["run", "--sink", "null", "--osc", "x"], "--osc must be PORT or HOST:PORT"),
        (["run", "--sink", "null", "--preset", "grn=1"], "there is no preset 'grn'"),
        (["render", "a.png", "nowhere.mp4", "-o", "b.mp4"], "there is no file nowhere.mp4; check the path"),
        (
            ["render", "a.png", "b.mp4", "-o", "c.mp4", "--badge-picture", "i.png"],
            "needs a corner: add --badge",
        ),
        (["report", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_a_refusal_is_one_line_on_stderr_and_code_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def press(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(mimicam.engine.commands, "_dispatch", press)
    assert main([]) == 130


def test_an_unexpected_fault_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(mimicam.engine.commands, "_dispatch", fail)
    with pytest.raises(ZeroDivisionError):
        main([])


def test_repeated_options_are_gathered() -> None:
    asked = ["run", "--sink", "null", "--mode", "exp", "--sink=window", "--portrait", "a", "b", "--loop"]
    want = ["run", "--mode", "exp", "--loop", "--sink", "null", "window", "--portrait", "a", "b"]
    assert gather_repeats(asked) == want
    assert gather_repeats(["report", "--inputs", "a", "--inputs=b", "d"]) == [
        "report",
        "--inputs",
        "a",
        "b",
        "d",
    ]


def test_a_command_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("hello", "tests.commands.hello:Hello", ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == ENTRY_POINTS else [])
    assert main(["hello", "--times", "3"]) == 3


def test_a_command_whose_package_is_missing_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    point = EntryPoint("hello", "nowhere_at_all:Hello", ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])  # noqa: ARG005
    assert main(["hello"]) == 1
    assert "needs a package that is missing (No module named 'nowhere_at_all')" in capsys.readouterr().err
    assert main(["--help"]) == 0, "a missing package must not break the overview"


def test_devices_lists_cameras_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "mimicam.engine.sources.devices.list_cameras", lambda: [CameraInfo(index=2, name="Stick")]
    )
    monkeypatch.setattr("mimicam.engine.doctor.virtual_cameras", list)
    assert main(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "cameras": [{"index": 2, "name": "Stick"}],
        "virtual_cameras": [],
    }


def test_import_without_torch_names_the_extra() -> None:
    code = f"{NO_TORCH}from mimicam.engine.commands import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "models", "import", "dpe.pt", "-o", "dpe.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'mimicam[torch]'" in done.stderr


def test_models_verify_names_a_changed_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mimicam.engine.assets_manifest.problems", list)
    assert main(["models", "verify"]) == 0
    monkeypatch.setattr("mimicam.engine.assets_manifest.problems", lambda: ["tracker/x.tflite was changed"])
    assert main(["models", "verify"]) == 1
    assert "tracker/x.tflite was changed; run: pip install" in capsys.readouterr().err


def test_the_engine_runs_without_torch(tmp_path: Path) -> None:
    code = f"{NO_TORCH}from mimicam.engine.commands import main\nsys.exit(main(sys.argv[1:]))"
    driving = write_video(tmp_path / "a.mp4", [grey(90)] * 3)
    command = [sys.executable, "-c", code, "run", "--source", str(driving), "--sink", "null"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "openvino" in done.stdout


def _run_on_a_full_disk(*options: str) -> subprocess.CompletedProcess[str]:
    resource = pytest.importorskip("resource", reason="file size limits are a POSIX matter")
    assert resource
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from mimicam.engine.commands import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "run", "--source", "pattern", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_full_disk_ends_a_run_with_one_line_and_no_file(tmp_path: Path) -> None:
    done = _run_on_a_full_disk("--sink", f"file:{tmp_path / 'out.mp4'}", "--seconds", "60")
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: the disk is full while writing")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_takes_no_other_sink_with_it(tmp_path: Path) -> None:
    done = _run_on_a_full_disk("--sink", f"file:{tmp_path / 'out.mp4'}", "null", "--seconds", "3")
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: the disk is full while writing")
    assert done.stderr.endswith("(the other sinks go on)\n")
    assert "lost: the disk is full" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_errors_of_a_process_have_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    command = [
        sys.executable,
        "-m",
        "mimicam",
        "run",
        "--source",
        str(tmp_path / "a.mp4"),
        "--sink",
        "null",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'a.mp4'} is empty; copy or download it again\n"
