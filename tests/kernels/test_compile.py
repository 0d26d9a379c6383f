"""Every kernel through the compiler that CuPy uses, for every architecture, without a GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mimicam.kernels import KernelBuildError, _cupy, _launch

_OLDEST, *_BETWEEN, _NEWEST = _launch.ARCHITECTURES


@pytest.mark.parametrize(
    "arch", [_OLDEST, *(pytest.param(arch, marks=pytest.mark.slow) for arch in _BETWEEN), _NEWEST]
)
@pytest.mark.parametrize("op", _launch.OPS)
@pytest.mark.usefixtures("compiler")
def test_kernel_compiles(op: str, arch: str) -> None:
    cubin = _cupy.compile_for(_launch.source(op), arch, name=f"{op}.cu")
    assert cubin.startswith(b"\x7fELF")
    for kernel in _launch.names(op):
        assert f".text.{kernel}\0".encode() in cubin


@pytest.mark.parametrize(
    ("kernel", "loads"),
    [
        ("warp_blend_packed_f16", 5),
        ("warp_blend_paired_f16", 10),
        ("blur_packed_f16", 16),
        ("blur_packed_f32", 16),
    ],
)
@pytest.mark.usefixtures("compiler")
def test_packed_kernels_move_16_bytes_at_a_time(kernel: str, loads: int) -> None:
    op = re.split("_packed|_paired", kernel)[0]
    ptx = _cupy.compile_for(_launch.source(op), "compute_90", name=f"{op}.cu", form="ptx").decode()
    (body,) = re.findall(rf"\.entry {kernel}\(.*?\n}}", ptx, re.DOTALL)
    wide = re.findall(r"ld\.global\.nc\.v4\.\w+", body)
    assert len(wide) == loads
    stores = re.findall(r"st\.global\.\S+", body)
    assert stores
    assert all(".v4." in store for store in stores), stores


@pytest.mark.parametrize("path", sorted(_launch._FOLDER.iterdir()), ids=lambda path: path.name)
@pytest.mark.usefixtures("compiler")
def test_a_file_compiles_alone_with_what_it_includes(path: Path) -> None:
    _compile_alone(path)


@pytest.mark.parametrize("path", sorted(_launch._FOLDER.glob("*.cu")), ids=lambda path: path.name)
@pytest.mark.usefixtures("compiler")
def test_a_file_without_its_includes_does_not_compile(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "#include" not in text:
        assert path.name == "edit_codes.cu", "only this op needs no header"
        return
    bare = tmp_path / path.name
    bare.write_text(re.sub("#include .*", "", text), encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="undefined"):
        _compile_alone(bare)


@pytest.mark.slow  # 2.5 s a file; NVRTC compiles each alone above
@pytest.mark.parametrize("path", sorted(_launch._FOLDER.glob("*.cu")), ids=lambda path: path.name)
def test_nvcc_compiles_a_file_alone(path: Path, tmp_path: Path) -> None:
    if not (shutil.which("nvcc") and shutil.which("g++")):
        pytest.skip("nvcc or g++ is not installed")
    command = ["nvcc", "-c", str(path), f"-I{_launch._FOLDER}", "-arch=sm_75", "-o", str(tmp_path / "op.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_source_holds_each_header_once_and_includes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    for name, text in (
        ("a.cuh", "#pragma once\nint a;\n"),
        ("b.cuh", '#pragma once\n#include "a.cuh"\nint b;\n'),
        ("op.cu", '// op\n#include "a.cuh"\n#include "b.cuh"\nint c;\n'),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(_launch, "_FOLDER", tmp_path)
    before = _launch.source("op")
    assert re.findall(r"int (\w);", before) == ["a", "b", "c"]
    assert "#include" not in before
    assert '#line 4 "op.cu"\nint c;' in before
    (tmp_path / "a.cuh").write_text("#pragma once\nlong a;\n")
    assert _launch.source("op") != before, "CuPy would go on with the machine code of the old header"


def _compile_alone(path: Path) -> None:
    """Give NVRTC one file as it stands, and the folder that its includes are found in."""
    nvrtc = _cupy.cupy().cuda.nvrtc
    program = nvrtc.createProgram(path.read_text(encoding="utf-8"), path.name, (), ())
    try:
        nvrtc.compileProgram(program, (*_cupy.OPTIONS, f"-I{_launch._FOLDER}", "-arch=compute_75"))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


def test_every_op_has_its_files_and_every_source_an_op() -> None:
    assert {path.stem for path in _launch._FOLDER.glob("*.cu")} == set(_launch.OPS)
    for op in _launch.OPS:
        assert f"kernels/{op}.py" in _launch.source(op), "the first line of a .cu points at its contract"
        assert _launch.names(op), f"{op}.cu holds no kernel"


@pytest.mark.usefixtures("compiler")
def test_a_source_that_does_not_compile_is_an_error_with_its_log() -> None:
    broken = _launch.source("warp_blend").replace("tanhf(", "no_such_function(")
    with pytest.raises(
        KernelBuildError, match=r"(?s)warp_blend.cu does not compile for sm_89.*no_such_function"
    ):
        _cupy.compile_for(broken, "sm_89", name="warp_blend.cu")


@pytest.mark.usefixtures("compiler")
def test_the_log_counts_lines_in_the_ops_own_file() -> None:
    source = _launch.source("upsample_blur") + "\nint broken = ;\n"
    with pytest.raises(KernelBuildError) as caught:
        _cupy.compile_for(source, "sm_89")
    line = int(re.search(r"upsample_blur.cu\((\d+)\)", str(caught.value)).group(1))
    own = (_launch._FOLDER / "upsample_blur.cu").read_text().count("\n")
    assert own < line <= own + 4


@pytest.mark.usefixtures("compiler")
def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(KernelBuildError, match="sm_12345"):
        _cupy.compile_for(_launch.source("warp_blend"), "sm_12345")


def test_a_missing_cupy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(KernelBuildError, match=r"pip install 'mimicam\[gpu\]'"):
        _cupy.compile_for("", "sm_89")


def test_a_cupy_that_takes_no_foreign_streams_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(__version__="12.3", cuda=SimpleNamespace(Stream=object))
    monkeypatch.setitem(sys.modules, "cupy", old)
    with pytest.raises(KernelBuildError, match=r"CuPy 12.3 is too old.*--upgrade"):
        _cupy.cupy()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
@pytest.mark.usefixtures("compiler")
def test_without_a_driver_loading_says_so_in_one_line() -> None:
    with pytest.raises(KernelBuildError, match=r"CuPy cannot prepare warp_blend.cu \(.*driver") as caught:
        _cupy.load(_launch.source("warp_blend"), 0, name="warp_blend.cu")
    assert "\n" not in str(caught.value)


def test_a_launch_goes_to_the_device_and_stream_of_its_tensors(cupy: FakeCupy, place: Any) -> None:
    place(device=1, stream=1234)
    _launch.launch("upsample_blur", "upsample_blur_f32", (1, 2, 3), (4, 5, 6), torch.zeros(1), None, 7, 0.5)
    (call,) = cupy.calls
    assert (call.device, call.stream, call.grid, call.block) == (1, 1234, (1, 2, 3), (4, 5, 6))


def test_values_travel_with_the_width_that_kernels_read(cupy: FakeCupy, place: Any) -> None:
    place(device=0, stream=5)
    tensor = torch.zeros(3)
    _launch.launch("upsample_blur", "upsample_blur_f32", (1, 1, 1), (1, 1, 1), tensor, None, 7, 0.5)
    address, null, count, share = cupy.calls[0].arguments
    assert (address, null, count, share) == (tensor.data_ptr(), 0, 7, 0.5)
    assert [type(value) for value in cupy.calls[0].arguments] == [np.uintp, np.uintp, np.int32, np.float32]


def test_a_kernel_is_compiled_once_per_device(cupy: FakeCupy, place: Any) -> None:
    for device in (0, 1, 0, 1):
        place(device=device, stream=0)
        _launch.launch("upsample_blur", "upsample_blur_f32", (1, 1, 1), (1, 1, 1), torch.zeros(1))
    assert cupy.compiled == [0, 1]
    assert len(cupy.calls) == 4


def test_preparing_loads_every_kernel(cupy: FakeCupy) -> None:
    _launch.prepare(1, ("upsample_blur", "warp_blend"))
    assert set(cupy.found) == set(_launch.names("upsample_blur") + _launch.names("warp_blend"))
    assert cupy.compiled == [1, 1]


def test_a_refused_compilation_carries_the_log(cupy: FakeCupy) -> None:
    cupy.refusal = cupy.cuda.compiler.CompileException("upsample_blur.cu(3): error: no")
    with pytest.raises(
        KernelBuildError, match=r"upsample_blur.cu does not compile for this GPU:\n.*error: no"
    ):
        _launch.prepare(0, ("upsample_blur",))


class FakeCupy:
    """As much of CuPy as a launch touches; notes what it is asked."""

    __version__ = "14.2.0"

    def __init__(self) -> None:
        self.calls: list[SimpleNamespace] = []
        self.compiled: list[int] = []
        self.found: list[str] = []
        self.refusal: Exception | None = None
        self._device, self._stream = 0, 0
        refused = type("CompileException", (Exception,), {})
        stream = SimpleNamespace(from_external=lambda of: self._entered("_stream", of.__cuda_stream__()[1]))
        self.cuda = SimpleNamespace(
            Device=lambda number: self._entered("_device", number),
            Stream=stream,
            compiler=SimpleNamespace(CompileException=refused),
        )

    def RawModule(self, *, code: str, options: tuple[str, ...]) -> Any:  # noqa: N802 - CuPy's name
        assert code
        assert options == _cupy.OPTIONS

        def compile_now() -> None:
            if self.refusal is not None:
                raise self.refusal
            self.compiled.append(self._device)

        return SimpleNamespace(compile=compile_now, get_function=self._kernel)

    def _kernel(self, name: str) -> Any:
        fake = self

        class Kernel:
            @property
            def kernel(self) -> object:
                fake.found.append(name)
                return object()

            def __call__(self, grid: Any, block: Any, arguments: Any) -> None:
                state = {"device": fake._device, "stream": fake._stream, "grid": grid, "block": block}
                fake.calls.append(SimpleNamespace(arguments=arguments, **state))

        return Kernel()

    @contextmanager
    def _again(self, name: str, value: int) -> Iterator[None]:
        before = getattr(self, name)
        setattr(self, name, value)
        yield
        setattr(self, name, before)

    def _entered(self, name: str, value: int) -> Any:
        fake = self

        class Entered:
            def __enter__(self) -> None:
                self._manager = fake._again(name, value)
                self._manager.__enter__()

            def __exit__(self, *error: object) -> None:
                self._manager.__exit__(None, None, None)

        return Entered()


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCupy]:
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    caches = (_launch._function, _launch._module, _cupy._stream)
    for cache in caches:
        cache.cache_clear()
    yield fake
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Any:
    def at(*, device: int, stream: int) -> None:
        monkeypatch.setattr(_launch, "_place", lambda _values: (device, stream))

    return at
