"""The kernels' own CUDA sources, built by g++ and started through the same launch code as on a GPU."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kernels import _driver, _launch

_HERE = Path(__file__).parent
ORDERS = {"ascending": 0, "descending": 1, "shuffled": 2}
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g")
_KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(')

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
    """Compile ops into a library that acts as a CUDA driver. ``edit`` changes each source first."""
    sources = [_HERE / "cuda_on_cpu.cpp"]
    for op in ops:
        text = _SHARED.sub(
            r"static \1; static bool \2_known = emulation::shared(\2);", edit(_launch.source(op))
        )
        binds = (f'static bool bound_{n} = emulation::bind("{n}", {n});' for n in _KERNEL.findall(text))
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


@contextmanager
def on_cpu(library: Path, order: str = "ascending") -> Iterator[ctypes.CDLL]:
    """Within it, launches run on the CPU, on CPU tensors. Give the ops' ``*_cuda`` functions those."""
    cuda = ctypes.CDLL(str(library))
    cuda.emulation_order(ORDERS[order])
    driver = _driver.Driver(cuda)
    kept = {name: getattr(_launch, name) for name in ("_driver_for_launch", "_module", "_place")}
    _launch._function.cache_clear()
    _launch._driver_for_launch = lambda: driver
    _launch._module = lambda _op, _device: ctypes.c_void_p(0)  # type: ignore[assignment]
    _launch._place = lambda _values: (0, 0)
    try:
        yield cuda
    finally:
        for name, value in kept.items():
            setattr(_launch, name, value)
        _launch._function.cache_clear()
