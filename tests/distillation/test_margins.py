"""Margins of given labels: literal values, sums over recorded logits, and a training that does not notice them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.names import Task
from pipeline.distillation.losses import Balance
from pipeline.distillation.margins import Watched, label_margins
from pipeline.distillation.objective import Batch, Supervised
from pipeline.training.loop import Fitted, fit
from pipeline.training.resume import ResumeFile
from pipeline.training.world import World
from tests.training.tiny import CPU, C, N, learner, objective, same, schedule, training_set

ALONE = World(CPU)


def test_a_classs_margin_is_its_logit_minus_the_largest_other_one():
    logits = torch.tensor([[2.0, 5.0, -1.0], [2.0, 5.0, -1.0], [2.0, 5.0, -1.0], [1.0, 1.0, 0.0]])
    assert label_margins(logits, torch.tensor([0, 1, 2, 0]), "multiclass").tolist() == [-3, 3, -6, 0]


def test_a_findings_margin_is_its_logit_with_the_sign_of_its_label():
    logits = torch.tensor([[2.0, -5.0], [0.5, -1.0]])
    targets = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert label_margins(logits, targets, "multilabel").tolist() == [[2.0, -5.0], [-0.5, 1.0]]


def batches(task: Task, samples: int = 6) -> Iterator[tuple[Batch, Tensor]]:
    """Batches of samples that are seen seven, four, two or no times, with what a network answers to each."""
    drawn = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 2, 1, 1, 0, 2]) if task == "multiclass" else torch.eye(3)[[0, 0, 1, 2, 2, 1]]
    for number, places in enumerate([[0, 1, 2], [3, 0], [0, 1, 2, 3]] + [[0, 1]] * 2 + [[0]] * 2):
        index = torch.tensor(places)
        logits = torch.round(2 * torch.randn(len(places), 3, generator=drawn))  # some margins are 0
        yield Batch(torch.zeros(len(places), 1), labels[index], index, epoch=0, step=number, view=0), logits


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_means_over_a_training_are_those_of_the_recorded_logits(task: Task):
    watched = Watched(Supervised(task, Balance()), task, (6, 3), CPU, ALONE)
    record: dict[int, list[np.ndarray]] = {sample: [] for sample in range(6)}
    for batch, logits in batches(task):
        watched.loss(batch, logits, logits)
        for place, target, row in zip(batch.index.tolist(), batch.targets.numpy(), logits.numpy(), strict=True):
            other = [row[target] - value for label, value in enumerate(row) if task == "multiclass" and label != target]
            record[place].append(np.min(other) if task == "multiclass" else np.where(target > 0, row, -row))
    watched.end_epoch()
    found = watched.found()
    assert {name: tuple(values.shape) for name, values in found.items()} == dict.fromkeys(
        ("aum", "disagreed"), (6,) if task == "multiclass" else (6, 3)
    )
    assert sorted(map(len, record.values())) == [0, 0, 2, 2, 4, 7]
    assert any((np.array(margins) == 0).any() for margins in record.values())
    for sample, margins in record.items():
        aum, disagreed = found["aum"][sample].numpy(), found["disagreed"][sample].numpy()
        if not margins:
            assert not aum.any()
            assert not disagreed.any()
            continue
        assert aum == pytest.approx(np.mean(margins, axis=0))
        assert disagreed == pytest.approx((np.array(margins) < 0).mean(axis=0))


def test_the_loss_is_the_inner_objectives_and_so_are_the_hooks():
    called: list[tuple[Any, ...]] = []

    class Inner(Supervised):
        def after_step(self, *arguments: Any) -> None:
            called.append(arguments)

        def end_epoch(self) -> None:
            called.append(())

    plain = Supervised("multiclass", Balance())
    watched = Watched(Inner("multiclass", Balance()), "multiclass", (6, 3), CPU, ALONE)
    for batch, logits in batches("multiclass"):
        logits.requires_grad_()
        found, expected = (one.loss(batch, logits, logits) for one in (watched, plain))
        assert found.keys() == expected.keys()
        assert torch.equal(found["total"], expected["total"])
        assert found["total"].requires_grad
    assert not any(values.requires_grad for values in watched.found().values())
    model = torch.nn.Linear(1, 1)
    watched.after_step(batch, model)
    watched.end_epoch()
    assert called == [(batch, model), ()]


def trained(folder: Path, kind: str, resume: str, **changes: object) -> tuple[Fitted, dict[str, Tensor]]:
    """Train the tiny network under watch."""
    watched = Watched(objective(folder, kind), "multiclass", (N, C), CPU, ALONE)
    fitted = fit(learner(kind), training_set(), watched, schedule(**changes), CPU, ResumeFile(folder / resume))
    return fitted, watched.found()


@pytest.mark.parametrize("kind", ["supervised", "reinforced"])
def test_a_training_does_not_notice_that_it_is_watched(tmp_path, kind):
    plain = fit(
        learner(kind), training_set(), objective(tmp_path, kind), schedule(), CPU, ResumeFile(tmp_path / "plain.pt")
    )
    fitted, found = trained(tmp_path, kind, "watched.pt")
    assert same(plain, fitted)
    assert float(found["aum"].abs().min()) > 0


@pytest.mark.parametrize("kind", ["supervised", "reinforced"])
def test_a_killed_training_ends_with_the_margins_of_an_unbroken_one(tmp_path, kind):
    class KilledError(Exception):
        pass

    def kill(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 3:
            raise KilledError

    whole, expected = trained(tmp_path, kind, "whole.pt")
    with pytest.raises(KilledError):
        trained(tmp_path, kind, "broken.pt", on_epoch=kill)
    epochs: list[int] = []
    resumed, found = trained(tmp_path, kind, "broken.pt", on_epoch=lambda epoch, metrics: epochs.append(epoch))
    assert epochs == [4, 5, 6]
    assert same(whole, resumed)
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


def test_wrong_labels_have_low_margins_and_are_disagreed_with(tmp_path):
    data, wrong = training_set(), torch.arange(N) % 9 == 0
    data = replace(data, targets=torch.where(wrong, (data.targets + 1) % C, data.targets))
    watched = Watched(objective(tmp_path, "supervised"), "multiclass", (N, C), CPU, ALONE)
    fit(learner("supervised"), data, watched, schedule(epochs=10), CPU, ResumeFile(tmp_path / "r.pt"))
    found = watched.found()
    assert float(found["aum"][wrong].max()) < float(found["aum"][~wrong].median())
    assert float(found["disagreed"][wrong].min()) > float(found["disagreed"][~wrong].median())


class Both:
    """Two processes in one: a sum is formed when the second passes its own, which the first has to wait for."""

    def __init__(self) -> None:
        self._passed: list[Tensor] = []

    def listen(self, values: Tensor) -> Tensor:
        self._passed.append(values.clone())
        return values

    def add(self, values: Tensor) -> Tensor:
        return values + self._passed.pop(0)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("killed", [False, True])
def test_processes_that_share_each_batch_find_the_margins_of_one(task: Task, killed: bool):
    """Also where both continue from the state of the first; test_world.py shows it with processes."""
    both = Both()
    listening, adding = (SimpleNamespace(total=total) for total in (both.listen, both.add))

    def make(processes: Any) -> Watched:
        return Watched(Supervised(task, Balance()), task, (6, 3), CPU, processes)

    alone, first, second = make(ALONE), make(adding), make(listening)
    for number, (batch, logits) in enumerate(batches(task)):
        if killed and number == 4:
            state = first.state_dict()
            first, second = make(adding), make(listening)
            first.load_state_dict(state)
            second.load_state_dict(state)
        alone.loss(batch, logits, logits)
        for one, rows in ((first, slice(None, None, 2)), (second, slice(1, None, 2))):
            part = Batch(
                batch.inputs[rows], batch.targets[rows], batch.index[rows], batch.epoch, batch.step, batch.view
            )
            one.loss(part, logits[rows], logits[rows])
        for one in (alone, second, first):
            one.end_epoch()
    for name, values in alone.found().items():
        assert first.found()[name].numpy() == pytest.approx(values.numpy()), name
