"""The virtual camera against the real kernel module, in a guest of QEMU (27 s once the tools are there)."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def _reason() -> str:
    """Why the guest cannot be made here; empty if it can."""
    release = Path("/etc/debian_version")
    if (
        sys.platform != "linux"
        or platform.machine() != "x86_64"
        or not release.exists()
        or not shutil.which("apt-get")
    ):
        return "needs Debian on x86-64, whose kernel the guest runs"
    if os.geteuid() != 0:
        return "needs root, to install QEMU and the kernel's headers"
    if "ubuntu" in Path("/etc/os-release").read_text().lower():
        return "needs Debian's kernel package"
    return ""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(_reason()), reason=_reason())
def test_another_program_reads_frames_from_v4l2loopback() -> None:
    work = Path(tempfile.gettempdir()) / "mimicam-v4l2loopback"
    command = [HERE / "vm" / "run_guest.sh", sys.executable, "tests.sinks.vm.guest", ROOT, work]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    assert "virtual-camera /dev/video10" in done.stdout
