"""The training loop on a GPU: it learns what the CPU learns, and the host never waits inside an epoch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.classifier import Classifier
from models.inference import Images, PlainImages
from pipeline.training import loop
from pipeline.training.device import pick_device
from pipeline.training.feed import PrefetchedImages, ResidentImages
from pipeline.training.inputs import Pixels, answers
from pipeline.training.loop import Fitted, Schedule, fit
from pipeline.training.resume import ResumeFile
from tests.training.tiny import CPU, V, learner, objective, pictures, schedule, small_network, training_set, views

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
KINDS = ["supervised", "stochastic", "reinforced", "elr", "co_teaching"]
LAST_STEP = 4
"""45 samples in batches of at most 11 are 5 steps."""
PARTING = 0.2
"""Rounded steps, and Baseline IV's draws at the edge of a probability, part the losses of two epochs by no more."""


@pytest.fixture
def gpu():
    """The GPU as a training uses it; torch's global settings are put back afterwards."""
    before = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    yield pick_device("cuda")
    torch.backends.cudnn.benchmark = before[0]
    torch.set_float32_matmul_precision(before[1])


def network() -> Classifier:
    return small_network(dropout=0.0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def schedule_on(images: Images, device: torch.device, **changes: object) -> Schedule:
    data = training_set()

    def validate(model: torch.nn.Module) -> dict[str, float]:
        logits = answers(model, Pixels(images, views(), device), data.rows, V, device)
        return {"accuracy": float((logits.argmax(1) == data.targets.numpy()).mean())}

    settled = schedule(validate=validate, compile=changes.pop("compile", False))
    return replace(settled, params=settled.params.model_copy(update=changes))


def run(tmp_path: Path, kind: str, device: torch.device, images: Images, **changes: object) -> Fitted:
    data = training_set()
    data = replace(data, inputs=Pixels(images, views(), device), targets=data.targets.to(device))
    settled = schedule_on(images, device, **changes)
    resume = tmp_path / "r.pt"
    resume.unlink(missing_ok=True)
    model = learner(kind, network)
    return fit(model, data, objective(tmp_path, kind, device), settled, device, ResumeFile(resume))


def losses(fitted: Fitted) -> list[float]:
    return [value for _, split, metric, value in fitted.history.rows if (split, metric) == ("train", "loss")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpu_learns_what_the_cpu_learns(tmp_path, gpu, kind, resident):
    data = training_set()
    expected = losses(run(tmp_path, kind, CPU, PlainImages(pictures(), CPU)))
    array = pictures()
    images = ResidentImages(array, data.rows, gpu) if resident else PrefetchedImages(array, gpu)
    torch.set_float32_matmul_precision("highest")
    exact = losses(run(tmp_path, kind, gpu, images, precision="float32"))
    assert exact[:2] == pytest.approx(expected[:2], rel=PARTING if kind == "reinforced" else 1e-2)
    rounded = losses(run(tmp_path, kind, gpu, images))
    assert rounded[:2] == pytest.approx(expected[:2], rel=PARTING)
    assert rounded[-1] < rounded[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resident", [True, False])
def test_the_host_does_not_wait_for_the_gpu_inside_an_epoch(tmp_path, gpu, kind, resident, monkeypatch):
    """From an epoch's second step on, torch refuses whatever would make the host wait."""
    step = loop._Training._step
    monkeypatch.setattr(loop, "CHECK_EVERY", 10**6)

    def watched_step(training: loop._Training, batch: loop.Batch, weight: float) -> dict[str, torch.Tensor]:
        terms = step(training, batch, weight)
        torch.cuda.set_sync_debug_mode("default" if batch.step == LAST_STEP else "error")
        return terms

    monkeypatch.setattr(loop._Training, "_step", watched_step)
    array = pictures()
    images = ResidentImages(array, training_set().rows, gpu) if resident else PrefetchedImages(array, gpu)
    try:
        fitted = run(tmp_path, kind, gpu, images)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(losses(fitted)) == 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_network_learns_the_same_on_a_gpu(tmp_path, gpu, kind):
    data = training_set()
    images = ResidentImages(pictures(), data.rows, gpu)
    plain = losses(run(tmp_path, kind, gpu, images))
    compiled = losses(run(tmp_path, kind, gpu, images, compile=True))
    assert compiled[:2] == pytest.approx(plain[:2], rel=PARTING)
