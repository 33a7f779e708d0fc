"""A frozen backbone: its stored features, and that a head on them is the head behind it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models.heads import HeadAlone, head_layers
from models.networks import build
from pipeline.common.errors import SettingError
from pipeline.data.views import Views
from pipeline.distillation.losses import Balance
from pipeline.distillation.objective import Supervised
from pipeline.params.learning import Network
from pipeline.params.tree import ViewParams
from pipeline.training.backbone import backbone_features
from pipeline.training.inputs import Features, Inputs, Pixels, answers
from pipeline.training.loop import Fitted, TrainingSet, fit, seeded_model
from pipeline.training.resume import ResumeFile
from tests.models.made_weights import made_weights, tiny
from tests.training.tiny import CPU, schedule

N, C, V, SIDE = 240, 3, 2, 32
TARGETS = np.arange(N) % C


def network(path: Path) -> Network:
    return Network("timm:test_resnet", str(path), "head", {})


def images(channels: int = 3) -> np.ndarray:
    """Noise in an area that grows with the class, in its own channel the brighter."""
    found = np.random.default_rng(0).integers(0, 120, (N, SIDE, SIDE, channels), dtype=np.uint8)
    for row, target in enumerate(TARGETS):
        found[row, : 10 * target + 8, :, target % channels] += 130
    return found


def views(preset: Any) -> Views:
    return Views(ViewParams(count=V, preset=preset, seed=0), N)


def stored(path: Path, view: int, preset: str = "flip_crop", given: np.ndarray | None = None) -> np.ndarray:
    return backbone_features(
        network(path), images() if given is None else given, views(preset), view,
        device=CPU, on_device="auto", share=lambda rows, predict: predict(rows),
    )  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", [0, 1, V])
def test_features_are_the_backbones_float32_output(tmp_path, view, channels):
    """Against timm's own network with those weights, in evaluation mode."""
    published = tiny(num_classes=0)
    given = images(channels)
    found = stored(made_weights(tmp_path / "w.safetensors", published), view, given=given)
    pixels = views("flip_crop").apply(torch.from_numpy(given).permute(0, 3, 1, 2) / 255, torch.arange(N), view)
    with torch.no_grad():
        expected = published((pixels.expand(-1, 3, -1, -1) - 0.5) / 0.5).numpy()
    assert found.dtype == np.float32
    assert found.shape == (N, 96)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.std(axis=0).max() > 0.1


def test_every_process_is_asked_for_its_share(tmp_path):
    path, seen = made_weights(tmp_path / "w.safetensors"), []

    def share(rows: np.ndarray, predict: Any) -> np.ndarray:
        seen.append(rows)
        return np.concatenate([predict(part) for part in np.array_split(rows, 3)])

    found = backbone_features(network(path), images(), views("none"), V, device=CPU, on_device="auto", share=share)
    assert [rows.tolist() for rows in seen] == [list(range(N))]
    np.testing.assert_allclose(found, stored(path, V), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [1e6, float("inf"), float("nan")])
def test_features_that_float16_does_not_hold_are_an_error_of_the_setting(tmp_path, factor):
    published = tiny(num_classes=0)
    last = [part for part in published.modules() if isinstance(part, nn.BatchNorm2d)][-1]
    nn.init.constant_(last.weight, factor)
    path = made_weights(tmp_path / "w.safetensors", published)
    with pytest.raises(SettingError, match=r"of timm:test_resnet are not finite in float16; the weights .*w\.safetens"):
        stored(path, V)


HEADS: dict[Any, tuple[int, float, dict[str, Any]]] = {
    "linear": (0, 0.0, {"lr": 0.1}),
    "mlp": (16, 0.2, {"optimiser": "adamw", "lr": 0.03, "decay": "cosine", "lr_warmup": 0.2}),
}
"""Hidden units, dropout and schedule of each kind of head."""


def trained(model: nn.Module, inputs: Inputs, resume: Path, **changes: Any) -> Fitted:
    rows = np.arange(N - 40)
    data = TrainingSet(inputs, np.arange(N).astype(str), rows, torch.from_numpy(TARGETS[rows]))

    def validate(model: nn.Module) -> dict[str, float]:
        logits = answers(model, inputs, np.arange(N - 40, N), V, CPU)
        return {"accuracy": float((logits.argmax(1) == TARGETS[N - 40 :]).mean())}

    plain = schedule(epochs=V, validate=validate)
    settled = plain.params.model_copy(update={"batch_size": 20, "backbone_lr": 0.0, **changes})
    loss = Supervised("multiclass", Balance())
    return fit(model, data, loss, replace(plain, params=settled), CPU, ResumeFile(resume))


def logits_of(model: nn.Module, inputs: Inputs, weights: dict[str, torch.Tensor]) -> np.ndarray:
    model.load_state_dict(weights)
    return answers(model, inputs, np.arange(N), V, CPU)


@pytest.mark.parametrize("preset", ["none", "lesion"])
@pytest.mark.parametrize("kind", HEADS)
def test_a_head_on_stored_features_is_the_head_behind_the_frozen_backbone(tmp_path, kind, preset):
    """The same initial weights, batches, views and dropout; features differ by their rounding to float16 alone."""
    path = made_weights(tmp_path / "w.safetensors")
    paths = [tmp_path / f"view{view}.npy" for view in range(V + 1)]
    for view, file in enumerate(paths):
        np.save(file, stored(path, view, preset).astype(np.float32 if view == V else np.float16))
    hidden, dropout, settings = HEADS[kind]
    layers = {"num_classes": C, "hidden": hidden, "dropout": dropout}
    whole = seeded_model(lambda: build("timm:test_resnet", weights=str(path), head=kind, **layers), 0, "student")
    alone = HeadAlone(head_layers(96, kind=kind, **layers))
    alone.load_state_dict({f"head.{name}": value for name, value in whole.head.state_dict().items()})
    initial = {name: value.clone() for name, value in whole.state_dict().items()}
    inputs: dict[nn.Module, Inputs] = {whole: Pixels(images(), views(preset), CPU), alone: Features(paths, CPU)}
    fitted = {
        model: trained(model, own, tmp_path / f"{type(model).__name__}.pt", **settings) for model, own in inputs.items()
    }
    for name in ("last", "selected", "smoothed"):
        weights, of_head = getattr(fitted[whole], name), getattr(fitted[alone], name)
        assert weights.keys() - of_head.keys() == {one for one in weights if one.startswith("backbone.")}
        assert all(torch.equal(value, initial[one]) for one, value in weights.items() if one not in of_head)
        assert not any(torch.equal(value, initial[one]) for one, value in of_head.items())
        logits = [logits_of(model, inputs[model], getattr(fitted[model], name)) for model in (whole, alone)]
        assert np.abs(logits[0] - logits[1]).max() < 1e-2
        assert np.ptp(logits[0], axis=0).min() > 0.5  # far from constant
        assert (logits[0].argmax(1) == logits[1].argmax(1)).mean() >= 0.995
    losses = [[row[3] for row in found.history.rows if row[2] == "loss"] for found in fitted.values()]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert losses[0][-1] < 0.9 * losses[0][0]
