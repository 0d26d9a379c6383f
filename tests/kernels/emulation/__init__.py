"""The kernels' own CUDA sources, built by g++ and started through the same launch code as on a GPU."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicam.kernels import _launch

if TYPE_CHECKING:
    import pytest

_HERE = Path(__file__).parent
ORDERS = {"ascending": 0, "descending": 1, "shuffled": 2}
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g")

# A block's shared memory is a static here, since one block runs at a time; the library must know it, to spoil
# it.
_SHARED = re.compile(r"__shared__ (\w+ (\w+)[^;]*);")

Edit = Callable[[str], str]


def missing() -> str | None:
    """Why emulation cannot run here, or None."""
    if sys.platform != "linux":
        return "the emulation switches threads with ucontext, which needs Linux"
    return None if shutil.which("g++") else "g++ is not installed"


def build(
    folder: Path, *, flags: tuple[str, ...] = (), edit: Edit = str, ops: tuple[str, ...] = _launch.OPS
) -> Path:
    """Compile ops into a library that runs them. ``edit`` changes each source first."""
    sources = [_HERE / "cuda_on_cpu.cpp"]
    for op in ops:
        text = _SHARED.sub(
            r"static \1; static bool \2_known = emulation::shared(\2);", edit(_launch.source(op))
        )
        binds = (
            f'static bool bound_{n} = emulation::bind("{n}", {n});' for n in _launch.KERNEL.findall(text)
        )
        path = folder / f"{op}.cpp"
        path.write_text('#include "cuda_on_cpu.h"\n' + text + "\n".join(binds), encoding="utf-8")
        sources.append(path)
    library = folder / "libcuda_on_cpu.so"
    warnings = ("-Wall", "-Wno-unknown-pragmas", "-Wno-unused-variable", "-Wno-unused-function")
    # Several of these live in one process: each keeps its own registry and its own shared memory.
    alone = ("-fno-gnu-unique", "-fvisibility=hidden", "-Wl,-Bsymbolic")
    command = ["g++", "-std=c++17", "-O1", "-fPIC", "-shared", *alone, *warnings, *flags, f"-I{_HERE}"]
    done = subprocess.run([*command, *map(str, sources), "-o", str(library)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return library


def build_once(factory: pytest.TempPathFactory) -> Path:
    """Compile all ops, once for all processes of a test run; the others wait for the library."""
    import fcntl  # not on Windows, where nothing is emulated

    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "emulation"
    folder.mkdir(exist_ok=True)
    library = folder / "libcuda_on_cpu.so"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return library if library.exists() else build(folder)


class OnCpu:
    """A kernel as CuPy hands one out: called with grid, block and arguments, which it packs as CuPy does."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        library.emulation_find.restype = ctypes.c_void_p
        library.emulation_launch.restype = ctypes.c_char_p
        self._launch = library.emulation_launch
        self._kernel = ctypes.c_void_p(library.emulation_find(name.encode()))
        assert self._kernel, f"no kernel {name}"

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        # CuPy takes numpy scalars as they are, 1 to 16 bytes wide; anything else would become 64 bits.
        assert all(isinstance(value, np.generic) for value in arguments)
        cells = [np.array(value) for value in arguments]
        pointers = (ctypes.c_void_p * len(cells))(*(cell.ctypes.data for cell in cells))
        sizes = [(ctypes.c_uint * 3)(*size) for size in (grid, block)]
        if failure := self._launch(self._kernel, *sizes, pointers):
            raise RuntimeError(failure.decode())


@contextlib.contextmanager
def on_cpu(library: Path, order: str = "ascending") -> Iterator[ctypes.CDLL]:
    """Within it, launches run on the CPU, on CPU tensors. Give the ops' ``*_cuda`` functions those."""
    cuda = ctypes.CDLL(str(library))
    cuda.emulation_order(ORDERS[order])
    replaced = {
        "_function": lambda _op, kernel, _device: OnCpu(cuda, kernel),
        "_queue": lambda _device, _stream: contextlib.nullcontext(),
        "_place": lambda _values: (0, 0),
    }
    kept = {name: getattr(_launch, name) for name in replaced}
    vars(_launch).update(replaced)
    try:
        yield cuda
    finally:
        vars(_launch).update(kept)
