# ruff: noqa: N802 - the fake drivers have the driver's names
"""Every kernel through NVIDIA's own compiler, for every architecture, without a GPU."""

from __future__ import annotations

import ctypes
import re
import sys

import pytest

from kernels import KernelBuildError, _driver, _launch, _nvrtc


@pytest.fixture(scope="module")
def nvrtc() -> tuple[int, int]:
    try:
        return _nvrtc.version()
    except KernelBuildError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("arch", _launch.ARCHITECTURES)
@pytest.mark.parametrize("op", _launch.OPS)
@pytest.mark.usefixtures("nvrtc")
def test_kernel_compiles(op: str, arch: str) -> None:
    cubin = _nvrtc.compile_cubin(_launch.source(op), arch, name=f"{op}.cu")
    assert cubin.startswith(b"\x7fELF")
    for kernel in _kernels(op):
        assert f".text.{kernel}\0".encode() in cubin


def test_every_op_has_its_files_and_every_source_an_op() -> None:
    assert {path.stem for path in _launch._FOLDER.glob("*.cu")} == set(_launch.OPS)
    for op in _launch.OPS:
        assert f"kernels/{op}.py" in _launch.source(op), "the first line of a .cu points at its contract"
        assert _kernels(op), f"{op}.cu holds no kernel"


@pytest.mark.usefixtures("nvrtc")
def test_a_source_that_does_not_compile_is_an_error_with_its_log() -> None:
    broken = _launch.source("warp_blend").replace("tanhf(", "no_such_function(")
    with pytest.raises(
        KernelBuildError, match=r"(?s)warp_blend.cu does not compile for sm_89.*no_such_function"
    ):
        _nvrtc.compile_cubin(broken, "sm_89", name="warp_blend.cu")


@pytest.mark.usefixtures("nvrtc")
def test_the_log_counts_lines_in_the_ops_own_file() -> None:
    source = _launch.source("upsample_blur") + "\nint broken = ;\n"
    with pytest.raises(KernelBuildError) as caught:
        _nvrtc.compile_cubin(source, "sm_89")
    line = int(re.search(r"upsample_blur.cu\((\d+)\)", str(caught.value)).group(1))
    own = (_launch._FOLDER / "upsample_blur.cu").read_text().count("\n")
    assert own < line <= own + 4


@pytest.mark.usefixtures("nvrtc")
def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(KernelBuildError, match="sm_12345"):
        _nvrtc.compile_cubin(_launch.source("warp_blend"), "sm_12345")


def test_a_missing_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_nvrtc, "_candidates", lambda: iter(["/nowhere/libnvrtc.so"]))
    _nvrtc._library.cache_clear()
    try:
        with pytest.raises(KernelBuildError, match="pip install nvidia-cuda-nvrtc"):
            _nvrtc.compile_cubin("", "sm_89")
    finally:
        _nvrtc._library.cache_clear()


def test_a_missing_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_driver, "LIBRARY", "no-such-driver.so")
    _driver.driver.cache_clear()
    with pytest.raises(KernelBuildError, match="no CUDA driver"):
        _driver.driver()


@pytest.mark.skipif(sys.platform == "win32", reason="the fake driver is a Python object either way")
def test_a_refused_cubin_names_the_drivers_reason() -> None:
    with pytest.raises(
        KernelBuildError, match="could not load a kernel module: too new; update the GPU driver"
    ):
        _driver.Driver(_Refusing()).load(b"cubin", 0)


def test_the_kernel_goes_to_the_stream_and_the_device_of_the_call() -> None:
    cuda = _Recording()
    _launch_nine(_driver.Driver(cuda), device=1)
    (call,) = cuda.launched
    assert list(call[1:8]) == [1, 2, 3, 4, 5, 6, 0]
    assert call[8].value == 1234
    assert cuda.devices == [1], "the thread had no context yet"


def test_a_thread_is_left_on_the_gpu_where_it_was() -> None:
    cuda = _Recording()
    cuda.current = 0
    driver = _driver.Driver(cuda)
    _launch_nine(driver, device=1)
    _launch_nine(driver, device=0)
    assert cuda.devices == [1, 0]
    assert cuda.current == 0
    assert cuda.switches == 1, "a thread that is on the right GPU needs no switch"


def _launch_nine(driver: _driver.Driver, device: int) -> None:
    driver.launch(ctypes.c_void_p(7), (1, 2, 3), (4, 5, 6), (ctypes.c_int(9),), stream=1234, device=device)


class _Refusing:
    """A driver that is older than the compiler."""

    def cuInit(self, _flags: int) -> int:
        return 0

    def cuCtxGetDevice(self, device: ctypes._Pointer) -> int:
        device._obj.value = 0
        return 0

    def cuModuleLoadData(self, _module: object, _image: bytes) -> int:
        return 222

    def cuGetErrorString(self, _status: int, text: ctypes._Pointer) -> int:
        text._obj.value = b"too new"
        return 0


class _Recording:
    """A driver that notes what it was asked."""

    def __init__(self) -> None:
        self.current, self.switches = -1, 0
        self.devices: list[int] = []
        self.launched: list[tuple[object, ...]] = []

    def cuInit(self, _flags: int) -> int:
        return 0

    def cuCtxGetDevice(self, device: ctypes._Pointer) -> int:
        device._obj.value = self.current
        return 0 if self.current >= 0 else 201

    def cuDevicePrimaryCtxRetain(self, context: ctypes._Pointer, device: ctypes.c_int) -> int:
        context._obj.value = 100 + device.value
        return 0

    def cuCtxPushCurrent_v2(self, context: ctypes.c_void_p) -> int:
        self._left, self.current = self.current, (context.value or 0) - 100
        self.switches += 1
        return 0

    def cuCtxPopCurrent_v2(self, _context: ctypes._Pointer) -> int:
        self.current = self._left
        return 0

    def cuLaunchKernel(self, *values: object) -> int:
        self.launched.append(values)
        self.devices.append(self.current)
        return 0


def _kernels(op: str) -> list[str]:
    return re.findall(r'extern "C" __global__ void (\w+)\(', _launch.source(op))
