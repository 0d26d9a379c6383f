"""Build sdist and wheel, install the wheel into a fresh environment, and run the demo outside the
checkout.

It also checks that the wheel installs one import package: a foreign package called ``kernels``
stays importable.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[1]
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")
_BOTH = "import kernels, mimicam.kernels; assert kernels.FOREIGN and not hasattr(mimicam.kernels, 'FOREIGN')"


def main() -> int:
    """Build, check and run. Returns the exit code of the demo."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder) / "dist")
        check_top_level(wheel)
        python = install(wheel, Path(folder) / "fresh")
        outside = Path(folder) / "outside"
        (outside / "kernels").mkdir(parents=True)
        (outside / "kernels" / "__init__.py").write_text("FOREIGN = True\n", encoding="utf-8")
        subprocess.run([python, "-c", _BOTH], cwd=outside, check=True)
        return subprocess.run([python, "-m", "mimicam", "demo", "--out", "demo.mp4"], cwd=outside).returncode


def build(folder: Path) -> Path:
    """Build both distributions; returns the wheel, which is built from the sdist as an index would
    do it."""
    subprocess.run([sys.executable, *PIP, "install", "build"], check=True)
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"build failed:\n{done.stdout}\n{done.stderr}"
    (wheel,) = folder.glob("*.whl")
    print(f"built {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB")
    return wheel


def check_top_level(wheel: Path) -> None:
    """Refuse a wheel that installs more than ``mimicam`` and its metadata."""
    with ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    foreign = {name for name in top if name != "mimicam" and not name.endswith(".dist-info")}
    assert not foreign, f"the wheel installs {sorted(foreign)} beside mimicam"


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel into a new environment; returns its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    subprocess.run([python, *PIP, "install", str(wheel)], check=True)
    return python


if __name__ == "__main__":
    sys.exit(main())
