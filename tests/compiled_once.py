"""Bundled networks that OpenVINO compiles once a test process; each user still gets an infer request of its own.

Hundreds of tests open a tracker or the bundled model. Compiling a tracker's three networks took two seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

_FROM = "tests_read_from"


def share(patch: pytest.MonkeyPatch) -> None:
    """Let the core compile a bundled file only where it was not yet compiled with these shapes and options."""
    from mimicam.engine.assets_manifest import ASSETS
    from mimicam.engine.silent_imports import ov

    read, compile_model = ov.Core.read_model, ov.Core.compile_model
    graphs: dict[Path, Any] = {}
    compiled: dict[tuple[str, ...], Any] = {}

    def read_and_mark(core: Any, file: Any, *rest: Any) -> Any:
        if rest or not (isinstance(file, Path) and file.is_relative_to(ASSETS)):
            return read(core, file, *rest)
        if file not in graphs:
            graphs[file] = read(core, file)
        graph = graphs[file].clone()  # its users change shapes
        graph.set_rt_info(str(file), _FROM)
        return graph

    def compile_once(core: Any, graph: Any, *rest: Any) -> Any:
        if not (isinstance(graph, ov.Model) and graph.has_rt_info(_FROM)):
            return compile_model(core, graph, *rest)
        shapes = (str(port.partial_shape) for port in graph.inputs)
        key = (graph.get_rt_info(_FROM), *shapes, repr(rest))
        if key not in compiled:
            compiled[key] = compile_model(core, graph, *rest)
        return compiled[key]

    patch.setattr(ov.Core, "read_model", read_and_mark)
    patch.setattr(ov.Core, "compile_model", compile_once)
