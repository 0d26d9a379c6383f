"""The layout is the diagram: imports go one way, and the core needs no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.link_package import link_package

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "aiortc", "pyvirtualcam", "moderngl", "onnxruntime")
CORE = (
    "commands", "commands.live", "session", "pipeline", "portrait", "render", "doctor", "demo", "sinks.window", "sinks.file",
    "sources.camera",
)  # fmt: skip


def test_imports_go_one_way(tmp_path: Path) -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    found = tool if tool.exists() else tool.with_suffix(".exe")
    if not found.exists():
        pytest.skip("lint-imports is not installed: pip install -e '.[dev]'")
    link_package(tmp_path)
    command = [str(found), str(ROOT / "pyproject.toml"), "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_core_loads_none_of_the_optional_packages() -> None:
    loads = "; ".join(f"import mimicam.engine.{name}" for name in CORE)
    code = f"import sys; {loads}; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
