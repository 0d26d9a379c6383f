"""The figures of a GPU session are of the right work: rehearsed on the CPU, at toy sizes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from mimicam.benchmarks import gpu_live, gpu_sessions, gpu_steps  # noqa: E402
from mimicam.benchmarks.gpu_steps import REHEARSAL  # noqa: E402
from mimicam.benchmarks.host_gpu import HostGpu  # noqa: E402
from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.engine.types import Mode  # noqa: E402

QUICK = replace(REHEARSAL, frames=3, stage_frames=2, paced_s=0.1)


@pytest.mark.parametrize("variant", [*gpu_steps.EAGER, "half", "half-fold"])
def test_a_variant_is_measured_in_every_mode_and_stage(variant: str) -> None:
    kept: list[list[str]] = []
    report = gpu_steps.measure_variant(
        variant, HostGpu(), QUICK, lambda found: kept.append([*found["modes"]])
    )
    assert kept == [["exp"], ["exp", "pose"], ["exp", "pose", "both"]], "what is killed later keeps these"
    assert list(report["modes"]) == ["exp", "pose", "both"]
    for found in report["modes"].values():
        assert found["graph"] is (variant not in gpu_steps.EAGER)
        assert list(found["stages_gpu_ms"]) == [
            "upload", "crop", "encode", "edit", "generate", "paste", "download",
        ]  # fmt: skip
        for name in (
            "networks_host_ms",
            "networks_gpu_ms",
            "step_gpu_ms",
            "frame_host_ms",
            "paced_frame_host_ms",
        ):
            assert 0 < found[name]["p50"] <= found[name]["p99"] <= found[name]["max"]


def test_the_live_path_is_measured_without_a_tracker() -> None:
    scale = replace(QUICK, paced_s=1.0)
    folded = gpu_live.FoldedDpe(gpu_live.random_dpe(scale.preset))
    networks = gpu_live.torch_networks(folded, gpu_live.FORMS["half"], HostGpu(), engine="eager")
    model = gpu_live.open_model(networks, HostGpu(), folded.config.size, "half")
    found = gpu_live.measure_session(model, Mode.EXP, "burst", scale)
    assert found["frames_counted"] > 1
    assert found["fps"] > 0


def test_variants_draw_the_same_pictures() -> None:
    """A faster variant that draws something else is no variant."""
    from mimicam.engine.models.dpe.folded import FoldedDpe
    from mimicam.export.networks import random_dpe

    folded, pictures = FoldedDpe(random_dpe("debug")), []
    for variant in (*gpu_steps.EAGER, "half", "half-fold"):
        networks = gpu_steps.open_variant(variant, folded, HostGpu(), QUICK)
        generator, encoder = networks["expression_generator"], networks["encoder"]
        encoder.inputs["image"].copy_(torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64))
        encoder.enqueue()
        for name, value in generator.inputs.items():
            value.copy_(encoder.outputs[name])
        generator.enqueue()
        pictures.append(generator.outputs["image"].float())
    for picture in pictures[1:]:
        assert (picture - pictures[0]).abs().max() <= 0.02 * pictures[0].abs().max()


def test_sessions_are_counted_by_what_was_run() -> None:
    report = gpu_sessions.measure_sessions("half", HostGpu(), QUICK)
    assert [row["sessions"] for row in report["batches"]] == [1, 2][: len(report["batches"])]
    held = [row["sessions"] for row in report["batches"] if row["age_ms"]["p99"] < 1000 / 30]
    assert report["holds_sessions_at_30_fps"] == max(held, default=0)


def test_a_compiled_form_is_recompiled_for_each_batch_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the limit of recompilations dynamo runs a function uncompiled, and says nothing in the figures."""
    resets, sizes = [], []
    monkeypatch.setattr(torch._dynamo, "reset", lambda: resets.append(len(sizes)))
    row = {"age_ms": {"p99": 1.0}}
    monkeypatch.setattr(gpu_sessions, "_measure_batch", lambda *a: sizes.append(a[2]) or row)
    monkeypatch.setattr(gpu_sessions, "open_variant", lambda *_, **__: {})
    kept: list[int] = []
    found = gpu_sessions.measure_sessions(
        "compile",
        HostGpu(),
        gpu_steps.Scale(preset="debug"),
        lambda r: kept.append(r["holds_sessions_at_30_fps"]),
    )
    assert sizes == [1, 8, 32]
    assert resets == [0, 1, 2]
    assert kept == [1, 8, 32]
    assert found["holds_sessions_at_30_fps"] == 32


def test_frames_arrive_at_thirty_a_second_from_each_session() -> None:
    arrivals = list(gpu_sessions._arrivals(3, 1.0))
    assert len(arrivals) == 90
    own = [due for due, slot in arrivals if slot == 1]
    assert {b - a for a, b in itertools.pairwise(own)} <= {33_333_333, 33_333_334}
    assert arrivals == sorted(arrivals)


def test_what_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from mimicam.engine.models.dpe.folded import FoldedDpe
    from mimicam.export.networks import random_dpe

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="not available"):
        gpu_steps.open_variant("tensorrt", FoldedDpe(random_dpe("debug")), HostGpu(), QUICK)
