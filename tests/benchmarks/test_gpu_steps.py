from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from benchmarks import gpu_steps  # noqa: E402
from engine.models.presets import DEBUG  # noqa: E402
from engine.types import Mode  # noqa: E402
from export import networks  # noqa: E402


@pytest.mark.parametrize("mode", list(Mode))
def test_a_step_gives_the_models_own_picture_in_every_mode(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = []
    calm = networks._calm
    monkeypatch.setattr(networks, "_calm", lambda model: models.append(calm(model)) or models[-1])
    nets = gpu_steps.torch_nets("debug", "cpu")
    source, driver = networks.smooth_pictures(DEBUG.size)
    with torch.no_grad():
        want = models[0].eval().edit(source, driver, mode)
        latent = models[0].encode(source).latent
    work, picture = gpu_steps.step_work(nets, latent, mode)
    work()
    assert (picture - want).abs().max() <= 1e-4 * want.abs().max()
