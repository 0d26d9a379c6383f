"""The layout is the diagram: imports go one way, the core needs no torch, nobody shadows our packages."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "aiortc", "pyvirtualcam", "moderngl", "onnxruntime")
CORE = (
    "engine.cli", "engine.cli.live", "engine.session", "engine.pipeline", "engine.portrait", "engine.render",
    "engine.doctor", "engine.demo", "engine.sinks.window", "engine.sinks.file", "engine.sources.camera",
)  # fmt: skip


def test_imports_go_one_way() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    found = tool if tool.exists() else tool.with_suffix(".exe")
    if not found.exists():
        pytest.skip("lint-imports is not installed: pip install -e '.[dev]'")
    done = subprocess.run([str(found), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_core_loads_none_of_the_optional_packages() -> None:
    loads = "; ".join(f"import {name}" for name in CORE)
    code = f"import sys; {loads}; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["engine", "kernels", "export", "training", "benchmarks"])
def test_no_other_package_shadows_ours(name: str) -> None:
    found = Path(str(importlib.import_module(name).__file__)).parent
    assert found == ROOT / name, (
        f"another package called '{name}' lies before ours on the path, in {found}: uninstall it, "
        "or use a fresh environment (make clean; make test)"
    )
