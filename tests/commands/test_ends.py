"""However a program ends, what it drew is in a complete file, and nobody reads a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mimicam.engine.commands import main
from mimicam.engine.commands.live import exit_code
from mimicam.engine.report import Report
from tests.videos import grey, levels, write_video

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no signal that only one process gets"
)

_MAIN = (
    "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{hang_up}\n"
    "from mimicam.engine.commands import main\n{before}\nsys.exit(main(sys.argv[1:]))"
)


_DEFAULT = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"
"""These tests may themselves run under nohup, whose child would keep SIGHUP ignored."""


def _command(*arguments: str, before: str = "", hang_up: str = _DEFAULT) -> list[str]:
    return [sys.executable, "-c", _MAIN.format(before=before, hang_up=hang_up), *arguments]


@contextmanager
def _running(command: list[str], **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """The process, which does not outlive a test that fails."""
    with subprocess.Popen(command, text=True, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_until_recording(process: subprocess.Popen[str], folder: Path) -> None:
    while process.poll() is None and not any(part.stat().st_size for part in folder.glob("*.part")):
        time.sleep(0.01)


_SLOW_DISK = """
import io, time
from pathlib import Path
import mimicam.engine.sinks.file as sink
class Slow(io.FileIO):
    def close(self):
        if not self.closed:
            time.sleep({seconds})
        super().close()
sink.FileSink.__init__.__kwdefaults__["open_file"] = lambda path: Slow(path, "w+")
"""


@pytest.mark.parametrize("number", [getattr(signal, "SIGHUP", 0), signal.SIGTERM, signal.SIGINT])
def test_a_recording_is_complete_after_every_signal_that_ends_it(tmp_path: Path, number: int) -> None:
    out = tmp_path / "out.mp4"
    command = _command("run", "--source", "pattern", "--sink", f"file:{out}")
    with _running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _wait_until_recording(process, tmp_path)
        process.send_signal(number)
        report, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert "frames in" in report
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert levels(out)


_SIGNAL_WHILE_A_LOCK_IS_TAKEN = """
import os, pathlib, threading
import mimicam.engine.session as session, mimicam.engine.concurrency.mailbox as mailbox
def interrupted(lock, acquire=threading.Condition.__enter__):
    taken = acquire(lock)
    # Not current_thread(): a thread that is starting would get a second object.
    if threading.get_ident() == threading.main_thread().ident and not sent and {armed}:
        sent.append(True)
        signal.raise_signal(signal.SIGTERM)
    return taken
sent = []
threading.Condition.__enter__ = interrupted
"""
"""The worst moment for KeyboardInterrupt: the lock is taken, and no `with` block will release it."""


def test_a_signal_leaves_no_lock_taken_that_the_recording_needs_to_end(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    armed = f"any(part.stat().st_size for part in pathlib.Path({str(tmp_path)!r}).glob('*.part'))"
    before = _SIGNAL_WHILE_A_LOCK_IS_TAKEN.format(armed=armed)
    command = _command("run", "--source", "pattern", "--sink", f"file:{out}", before=before)
    with _running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _report, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert levels(out)


def test_nohup_keeps_a_recording_running(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    code = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    main_ = _command("run", "--source", "pattern", "--sink", f"file:{out}", hang_up="")
    command = [sys.executable, "-c", code, *main_]
    with _running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _wait_until_recording(process, tmp_path)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert levels(out)


def test_a_recording_is_complete_after_its_terminal_was_closed(tmp_path: Path) -> None:
    """Output goes to a terminal that is gone: printing the report fails, which is no traceback and no loss."""
    import pty

    out, errors = tmp_path / "out.mp4", tmp_path / "errors.txt"
    own, theirs = pty.openpty()
    command = _command("run", "--source", "pattern", "--sink", f"file:{out}")
    with (
        errors.open("w") as file,
        _running(command, stdout=theirs, stderr=file) as process,
    ):
        os.close(theirs)
        _wait_until_recording(process, tmp_path)
        os.close(own)
        process.send_signal(signal.SIGHUP)
        process.wait(60)
    assert (process.returncode, errors.read_text()) == (130, "")
    assert levels(out)


@pytest.mark.parametrize(
    "arguments", [["models", "list"], ["run", "--help"], ["devices", "--json"], ["--version"]], ids=" ".join
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_goes_away_is_no_error(arguments: list[str], unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    env = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        _command(*arguments), stdout=writer, stderr=subprocess.PIPE, text=True, env=env, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_a_run_whose_reader_goes_away_records_on(tmp_path: Path, closed: str) -> None:
    source, out = write_video(tmp_path / "a.mp4", [grey(90)] * 5), tmp_path / "out.mp4"
    reader, writer = os.pipe()
    os.close(reader)
    streams = {name: writer for name in ("stdout", "stderr") if closed in (name, "both")}
    done = subprocess.run(
        _command("run", "--source", str(source), "--sink", f"file:{out}"),
        check=False, text=True, **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams),
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 0
    assert not done.stderr
    assert levels(out)


@pytest.mark.parametrize("port", ["65536", "99999", "-1", "http"])
def test_a_port_that_does_not_exist_is_one_line(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiortc", reason="the webrtc extra is not installed")
    assert main(["run", "--source", "pattern", "--sink", f"webrtc:{port}"]) == 1
    error = capsys.readouterr().err
    assert error == f"error: webrtc:{port} is no port: give a number up to 65535, as webrtc:8443\n"


def test_a_slow_disk_gets_the_time_it_needs(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    command = _command(
        "run", "--source", "pattern", "--sink", f"file:{out}", before=_SLOW_DISK.format(seconds=3)
    )
    with _running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _wait_until_recording(process, tmp_path)
        process.send_signal(signal.SIGINT)
        report, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "did not stop" not in " ".join(report.split())
    assert errors == f"file:{out} still writes; Ctrl-C gives it up\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert levels(out)


def test_a_second_ctrl_c_gives_up_on_a_hanging_disk(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    command = _command(
        "run", "--source", "pattern", "--sink", f"file:{out}", before=_SLOW_DISK.format(seconds=600)
    )
    with _running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _wait_until_recording(process, tmp_path)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "still writes" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        report, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "did not stop in time" in " ".join(report.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({}, 0), ({"interrupted": True}, 130), ({"stuck": ("file:a.mp4",)}, 1), ({"lost": ("full",)}, 1),
        ({"interrupted": True, "stuck": ("file:a.mp4",)}, 1), ({"interrupted": True, "lost": ("full",)}, 1),
    ],
)  # fmt: skip
def test_the_exit_code_tells_whether_every_sink_is_complete(facts: dict[str, object], code: int) -> None:
    empty: dict[str, object] = {
        "seconds": 1.0, "frames_in": 0, "frames_out": 0, "drops": {}, "sinks": (), "stages": {},
        "interrupted": False, "stuck": (),
    }  # fmt: skip
    assert exit_code(Report(**(empty | facts))) == code  # type: ignore[arg-type]
