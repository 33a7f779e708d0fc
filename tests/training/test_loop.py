"""The training loop on a small network: it learns, repeats itself, resumes bit for bit, and stops on a broken loss."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models.classifier import Classifier
from models.inference import PlainImages
from pipeline.common.errors import UserError
from pipeline.distillation.losses import Balance
from pipeline.distillation.objective import Batch, Supervised, untracked_statistics
from pipeline.training.feed import PrefetchedImages, ResidentImages
from pipeline.training.inputs import Pixels, answers
from pipeline.training.loop import Fitted, fit, seeded_model
from pipeline.training.resume import ResumeFile
from tests.training.tiny import (
    CPU,
    C,
    N,
    V,
    objective,
    pictures,
    same,
    schedule,
    small_network,
    trained,
    training_set,
    views,
)


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
    wide = seeded_model(
        lambda: Classifier(nn.Sequential(nn.Flatten(), nn.Linear(432, 256), nn.ReLU()), nn.Linear(256, C)), 0, "wide"
    )
    steady = schedule(epochs=200)
    steady = replace(steady, params=steady.params.model_copy(update={"lr": 0.02}))
    fitted = fit(wide, data, Supervised("multiclass", Balance()), steady, CPU, ResumeFile(tmp_path / "r.pt"))
    wide.load_state_dict(fitted.last)
    assert (answers(wide, data.inputs, data.rows, V, CPU).argmax(1) == noisy.numpy()).all()


@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize("kind", ["supervised", "stochastic", "reinforced", "elr", "co_teaching"])
def test_the_same_seed_gives_the_same_weights_and_a_killed_run_ends_like_an_unbroken_one(tmp_path, kind, precision):
    settled = {"params": schedule().params.model_copy(update={"precision": precision})}
    whole = trained(tmp_path, kind, tmp_path / "whole.pt", **settled)
    assert same(whole, trained(tmp_path, kind, tmp_path / "again.pt", **settled))

    class KilledError(Exception):
        pass

    def kill(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 3:
            raise KilledError

    with pytest.raises(KilledError):
        trained(tmp_path, kind, tmp_path / "broken.pt", on_epoch=kill, **settled)
    torch.rand(7)  # whatever happens in between
    reported: list[int] = []
    listen = {"on_epoch": lambda epoch, metrics: reported.append(epoch)}
    resumed = trained(tmp_path, kind, tmp_path / "broken.pt", **listen, **settled)
    assert reported == [4, 5, 6]
    assert same(whole, resumed)


def test_a_broken_loss_stops_with_step_samples_and_learning_rate(tmp_path):
    class Broken(Supervised):
        def loss(self, batch: Batch, features: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
            terms = super().loss(batch, features, logits)
            return {"total": terms["total"] * (float("nan") if batch.step == 2 else 1)}

    model = seeded_model(small_network, 0, "student")
    with pytest.raises(UserError, match=r"nan in epoch 1, step 3, at learning rate 0.05.*image_\d+") as error:
        fit(model, training_set(), Broken("multiclass", Balance()), schedule(), CPU, ResumeFile(tmp_path / "r.pt"))
    assert str(error.value).count("image_") == 9  # 45 samples in five batches


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
        schedule(epochs=4, validate=validate, smoothing_warmup=0.25),
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
            seen.append(batch.index.numpy())
            return super().loss(batch, features, logits)

    model = seeded_model(small_network, 0, "student")
    fit(model, training_set(), Spy("multiclass", Balance()), schedule(epochs=2), CPU, ResumeFile(tmp_path / "r.pt"))
    assert [len(positions) for positions in seen] == [9] * 10
    assert sorted(np.concatenate(seen[:5])) == list(range(N))
    assert (np.concatenate(seen[:5]) != np.concatenate(seen[5:])).any()


def test_an_epoch_of_more_steps_than_a_pass_goes_on_in_the_next_view_and_resumes_there(tmp_path):
    """45 samples are five steps a pass; epochs of seven."""
    seen: list[Batch] = []

    class Spy(Supervised):
        def loss(self, batch: Batch, features: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.append(batch)
            return super().loss(batch, features, logits)

    def train(resume: str, **changes: object) -> Fitted:
        model, objective = seeded_model(small_network, 0, "student"), Spy("multiclass", Balance())
        return fit(
            model, training_set(), objective, schedule(3, steps=7, **changes), CPU, ResumeFile(tmp_path / resume)
        )

    whole = train("whole.pt")
    assert [batch.view for batch in seen] == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5 + [0]
    for number in range(4):
        assert sorted(torch.cat([batch.index for batch in seen[5 * number : 5 * number + 5]]).tolist()) == list(
            range(N)
        )
    assert [row[0] for row in whole.history.rows if row[2] == "loss"] == [1, 2, 3]

    def stop(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("broken.pt", on_epoch=stop)
    assert same(whole, train("broken.pt"))


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


@pytest.mark.parametrize("reader", [PlainImages, ResidentImages, PrefetchedImages])
def test_it_does_not_matter_how_the_images_are_read(tmp_path, reader):
    expected = trained(tmp_path, "stochastic", tmp_path / "array.pt", epochs=2)
    data = training_set()
    images = reader(pictures(), data.rows, CPU) if reader is ResidentImages else reader(pictures(), CPU)
    model = seeded_model(small_network, 0, "student")
    loss = objective(tmp_path, "stochastic")
    fitted = fit(
        model,
        replace(data, inputs=Pixels(images, views(), CPU)),
        loss,
        schedule(epochs=2),
        CPU,
        ResumeFile(tmp_path / "r.pt"),
    )
    assert same(expected, fitted)


def test_a_training_that_fails_leaves_no_reading_thread(tmp_path):
    class Broken(Supervised):
        def loss(self, batch: Batch, features: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
            assert any(thread.name.startswith("prefetch") for thread in threading.enumerate())
            raise ZeroDivisionError

    data = training_set()
    data = replace(data, inputs=Pixels(PrefetchedImages(pictures(), CPU), views(), CPU))
    model = seeded_model(small_network, 0, "student")
    with pytest.raises(ZeroDivisionError):
        fit(model, data, Broken("multiclass", Balance()), schedule(), CPU, ResumeFile(tmp_path / "r.pt"))
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_a_full_gpu_is_reported_with_the_way_out(tmp_path):
    class Full(Supervised):
        def loss(self, batch: Batch, features: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore lines")

    model = seeded_model(small_network, 0, "student")
    with pytest.raises(UserError, match=r"batch_size 11 \(CUDA out of memory.*2\.00 GiB\)\. Lower training"):
        fit(model, training_set(), Full("multiclass", Balance()), schedule(), CPU, ResumeFile(tmp_path / "r.pt"))


def test_a_second_pass_normalises_by_the_batch_and_leaves_the_statistics_alone():
    model = seeded_model(lambda: small_network(dropout=0.0), 0, "student")
    pixels = torch.rand(6, 3, 12, 12)
    expected = seeded_model(lambda: small_network(dropout=0.0), 0, "student")(pixels)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with untracked_statistics(model):
        assert torch.equal(model(pixels), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model(pixels)
    assert model.state_dict()["backbone.1.num_batches_tracked"] == 1


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off", b"not a file of torch"])
def test_a_damaged_resume_file_is_set_aside_and_the_training_begins_again(tmp_path, capsys, damage):
    path = tmp_path / "resume.pt"
    path.write_bytes(damage)
    fitted = trained(tmp_path, "supervised", path)
    assert same(fitted, trained(tmp_path, "supervised", tmp_path / "whole.pt"))
    assert f"{path}: is damaged" in capsys.readouterr().out
    assert (tmp_path / "resume.pt.damaged").read_bytes() == damage
