"""The training loop on a small network: it learns, repeats itself, resumes bit for bit, and stops on a broken loss."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.classifier import Classifier
from models.inference import predict
from pipeline.data.views import Views
from pipeline.distillation.losses import Balance
from pipeline.distillation.objective import (
    Batch,
    Distillation,
    DistillationTerms,
    Objective,
    ReinforcedDistillation,
    Supervised,
)
from pipeline.distillation.reinforced import SelectionPolicy
from pipeline.distillation.soft_labels import SoftLabels, write_soft_labels
from pipeline.distillation.weighting import StochasticWeights
from pipeline.errors import UserError
from pipeline.params import TrainingParams, ViewParams, WeightingParams
from pipeline.training.loop import Fitted, Plan, TrainingSet, fit, seeded_model
from pipeline.training.resume import ResumeFile, ResumeFolder

CPU = torch.device("cpu")
N, C, V = 45, 3, 2


def small_network() -> Classifier:
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    )
    return Classifier(backbone, nn.Sequential(nn.Dropout(0.1), nn.Linear(32, C)))


def training_set(preset: str = "flip_crop") -> TrainingSet:
    rng = np.random.default_rng(0)
    targets = np.arange(N + 5) % C
    images = rng.integers(0, 120, (N + 5, 12, 12, 3), dtype=np.uint8)
    images[np.arange(N + 5), :, :, targets] += 100  # the class is the brightest channel
    return TrainingSet(
        images=images,
        sample_ids=np.array([f"image_{i}" for i in range(N + 5)]),
        rows=np.arange(N) + 5,
        targets=torch.from_numpy(targets[5:]),
        views=Views(ViewParams(count=V, preset=preset, seed=0), N + 5),
    )


def plan(epochs: int = 6, **changes: object) -> Plan:
    params = TrainingParams(
        balance="none",
        epochs=epochs,
        batch_size=11,
        lr=0.05,
        momentum=0.9,
        weight_decay=2e-4,
        decay_at=[0.5],
        device="cpu",
    )

    def validate(model: nn.Module) -> dict[str, float]:
        data = training_set()
        logits = predict(model, data.images, data.rows, CPU)
        return {"accuracy": float((logits.argmax(1) == data.targets.numpy()).mean())}

    return replace(Plan(params, 0, validate, "accuracy", 0.2, resume_share=1e9), **changes)  # type: ignore[arg-type]


def distillation(tmp_path: Path, kind: str) -> Objective:
    data = training_set()
    for k in range(2):
        path = tmp_path / f"teacher{k}.npy"
        if not path.exists():
            write_soft_labels(path, {}, seeded_model(small_network, k, "t"), data.images, data.rows, data.views, CPU)
    soft_labels = SoftLabels([tmp_path / "teacher0.npy", tmp_path / "teacher1.npy"], [{}, {}], CPU)
    terms = DistillationTerms("multiclass", Balance(), soft_labels, 0.5, 0.9)
    if kind == "reinforced":
        return ReinforcedDistillation(terms, SelectionPolicy(2, 32 + C + 2, N, 0, 0.1, CPU))
    weighting = WeightingParams(per="step", concentration=1.0, normalise=True, weight_scale=1.0)
    return Distillation(terms, StochasticWeights(2, N, 0, weighting))


def objective(tmp_path: Path, kind: str) -> Objective:
    return Supervised("multiclass", Balance()) if kind == "supervised" else distillation(tmp_path, kind)


def trained(tmp_path: Path, kind: str, resume: Path, **changes: object) -> Fitted:
    model = seeded_model(small_network, 0, "student")
    return fit(model, training_set(), objective(tmp_path, kind), plan(**changes), CPU, ResumeFile(resume))  # type: ignore[arg-type]


def same(first: Fitted, second: Fitted) -> bool:
    assert first.smoothed is not None
    assert second.smoothed is not None
    pairs = zip(
        [first.last, first.selected, first.smoothed], [second.last, second.selected, second.smoothed], strict=True
    )
    return first.history == second.history and all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)


def test_it_learns_and_says_so_in_its_history(tmp_path):
    fitted = trained(tmp_path, "supervised", tmp_path / "r.pt", epochs=10)
    losses = [value for _, split, metric, value in fitted.history.rows if (split, metric) == ("train", "loss")]
    accuracy = [value for _, split, _, value in fitted.history.rows if split == "val"]
    assert len(losses) == len(accuracy) == 10
    assert losses[-1] < 0.5 * losses[0]
    assert accuracy[-1] > 0.9
    fitted.history.write(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text().splitlines()[:2] == [
        "epoch,split,metric,value",
        f"1,train,loss,{losses[0]!r}",
    ]


def test_a_batch_can_be_learnt_by_heart(tmp_path):
    data = training_set("none")
    noisy = torch.from_numpy(np.random.default_rng(1).integers(0, C, N))
    data = replace(data, targets=noisy)
    wide = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(432, 256), nn.ReLU()), nn.Linear(256, C))
    steady = plan(epochs=150)
    fitted = fit(wide, data, Supervised("multiclass", Balance()), steady, CPU, ResumeFile(tmp_path / "r.pt"))
    wide.load_state_dict(fitted.last)
    assert (predict(wide, data.images, data.rows, CPU).argmax(1) == noisy.numpy()).all()


@pytest.mark.parametrize("kind", ["supervised", "stochastic", "reinforced"])
def test_the_same_seed_gives_the_same_weights_and_a_killed_run_ends_like_an_unbroken_one(tmp_path, kind):
    whole = trained(tmp_path, kind, tmp_path / "whole.pt")
    assert same(whole, trained(tmp_path, kind, tmp_path / "again.pt"))

    class KilledError(Exception):
        pass

    def kill(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 3:
            raise KilledError

    with pytest.raises(KilledError):
        trained(tmp_path, kind, tmp_path / "broken.pt", on_epoch=kill)
    torch.rand(7)  # whatever happens in between
    told: list[int] = []
    resumed = trained(tmp_path, kind, tmp_path / "broken.pt", on_epoch=lambda epoch, metrics: told.append(epoch))
    assert told == [4, 5, 6]
    assert same(whole, resumed)


def test_a_broken_loss_stops_with_step_samples_and_learning_rate(tmp_path):
    class Broken(Supervised):
        def loss(self, batch: Batch, features: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
            terms = super().loss(batch, features, logits)
            return {"total": terms["total"] * (float("nan") if batch.step == 2 else 1)}

    model = seeded_model(small_network, 0, "student")
    with pytest.raises(UserError, match=r"nan in epoch 1, step 3, at learning rate 0.05.*image_\d+") as error:
        fit(model, training_set(), Broken("multiclass", Balance()), plan(), CPU, ResumeFile(tmp_path / "r.pt"))
    assert str(error.value).count("image_") == 11


def test_selected_is_the_best_validation_epoch_and_smoothed_the_mean_after_the_warmup(tmp_path):
    weights: list[dict[str, torch.Tensor]] = []
    scores = iter([0.1, 0.9, 0.3, 0.2])

    def validate(model: nn.Module) -> dict[str, float]:
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"accuracy": next(scores)}

    model = seeded_model(small_network, 0, "student")
    outcome = fit(
        model,
        training_set(),
        Supervised("multiclass", Balance()),
        plan(epochs=4, validate=validate, smoothing_warmup=0.25),
        CPU,
        ResumeFile(tmp_path / "r.pt"),
    )
    name = "backbone.0.weight"
    assert torch.equal(outcome.selected[name], weights[1][name])
    assert torch.equal(outcome.last[name], weights[3][name])
    assert outcome.smoothed is not None
    mean = (weights[1][name] + weights[2][name] + weights[3][name]) / 3
    assert torch.allclose(outcome.smoothed[name], mean, atol=1e-6)


def test_every_sample_is_seen_once_an_epoch_and_no_batch_has_one_sample(tmp_path):
    seen: list[np.ndarray] = []

    class Spy(Supervised):
        def loss(self, batch: Batch, features: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.append(batch.positions)
            return super().loss(batch, features, logits)

    model = seeded_model(small_network, 0, "student")
    fit(model, training_set(), Spy("multiclass", Balance()), plan(epochs=2), CPU, ResumeFile(tmp_path / "r.pt"))
    assert [len(positions) for positions in seen] == [11, 11, 11, 12] * 2  # 45 = 4 * 11 + 1
    assert sorted(np.concatenate(seen[:4])) == list(range(N))
    assert (np.concatenate(seen[:4]) != np.concatenate(seen[4:])).any()


def test_a_resume_folder_of_other_parameters_is_not_used(tmp_path):
    first = ResumeFolder("student-0", {"tau": 0.5}, tmp_path)
    (first.path / "training.pt").write_text("half")
    assert (ResumeFolder("student-0", {"tau": 0.5}, tmp_path).path / "training.pt").exists()
    other = ResumeFolder("student-0", {"tau": 1.0}, tmp_path)
    assert list(other.path.iterdir()) == []
    assert not first.path.exists()
    other.remove()
    assert not other.path.exists()


def test_models_of_one_name_start_alike_and_the_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = seeded_model(small_network, 0, "student")
    assert torch.equal(torch.rand(3), expected)
    again, other = seeded_model(small_network, 0, "student"), seeded_model(small_network, 0, "teacher")
    name = "backbone.0.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
