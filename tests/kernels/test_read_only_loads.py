"""No kernel reads as read-only memory what it also writes.

The compiler reads through `const __restrict__` pointers by `ld.global.nc`. Such a load may come from a cache that stores do
not reach, and the assembler moves it past stores. `edit_codes` once used a stale neutral on a card for that reason.
"""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from mimicam.kernels import _cupy, _launch

_ENTRY = re.compile(r"\.entry (\w+)\(.*?\n\}", re.DOTALL)
_STATEMENT = re.compile(r"^\s*(?:@!?%p\d+\s+)?([a-z][\w.]+)\s+(.*);", re.MULTILINE)
_NAME = re.compile(r"%\w+|\w+_param_\d+")
_WRITES = ("st.global", "atom.global", "red.global")
_MAY_BE_OUT = {"paste_back": "param_0", "upsample_blur": "param_1"}
"""Inputs that an op's contract allows to be its output."""


@pytest.mark.parametrize("op", _launch.OPS)
@pytest.mark.usefixtures("compiler")
def test_no_kernel_writes_what_it_reads_as_read_only(op: str) -> None:
    ptx = _cupy.compile_for(_launch.source(op), "compute_90", name=f"{op}.cu", form="ptx").decode()
    kernels = {kernel[1]: kernel[0] for kernel in _ENTRY.finditer(ptx)}
    assert set(kernels) == set(_launch.names(op))
    for name, body in kernels.items():
        read_only, written = _parameters(body)
        assert written, f"{name}: no store was found"
        assert not read_only & written, name
        assert f"{name}_{_MAY_BE_OUT.get(op)}" not in read_only


def test_a_read_only_load_from_one_of_two_addresses_is_found() -> None:
    body = """
    ld.param.u64 %rd1, [k_param_0];
    ld.param.u64 %rd2, [k_param_1];
    ld.param.u64 %rd3, [k_param_2];
    cvta.to.global.u64 %rd4, %rd1;
    @%p2 bra $L__BB0_2;
    st.global.f32 [%rd4+8], %f1;
    selp.b64 %rd5, %rd4, %rd2, %p1;
    {load} {{%f2,%f3}}, [%rd5];
    @%p1 st.global.f32 [%rd3], %f2;
    """
    first, second, third = (f"k_param_{i}" for i in range(3))
    assert _parameters(body.format(load="ld.global.nc.v2.f32")) == ({first, second}, {first, third})
    assert _parameters(body.format(load="ld.global.v2.f32")) == (set(), {first, third})


def _parameters(body: str) -> tuple[set[str], set[str]]:
    """Find the pointers that a kernel reads as read-only memory, and those that it writes."""
    statements = [(op, _NAME.findall(operands)) for op, operands in _STATEMENT.findall(body)]
    origins: defaultdict[str, set[str]] = defaultdict(set)
    before = -1
    # Addresses also go round in loops: repeat until nothing is added.
    while before != (before := sum(map(len, origins.values()))):
        for op, names in statements:
            if op == "ld.param.u64":
                origins[names[0]].add(names[1])
            elif names and not op.startswith(("ld.", "st.")):
                origins[names[0]].update(*(origins[name] for name in names[1:]))
    # The address is a load's last name, a store's first. An atomic operation's is its second.
    read_only = [origins[names[-1]] for op, names in statements if op.startswith("ld.global.nc")]
    written = [
        origins[names[1 if op.startswith("atom") else 0]]
        for op, names in statements
        if op.startswith(_WRITES)
    ]
    return set().union(*read_only), set().union(*written)
