"""The rivals' losses against literal values and limits, and ELR's memory."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.distillation import robust_losses
from pipeline.distillation.losses import supervised_loss
from pipeline.distillation.methods import METHODS, RIVALS
from pipeline.distillation.objective import Batch
from pipeline.distillation.rivals import EarlyLearning, rival_objective
from pipeline.training.world import World

LOGITS = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]]))
TARGETS = torch.tensor([0, 2])
P = [0.7, 0.25]
FINDINGS = torch.tensor([[0.8, 0.3], [0.1, 0.6]]).logit()
GIVEN = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
P_FINDINGS = [[0.8, 0.7], [0.1, 0.6]]
CPU = torch.device("cpu")


def close(found: Tensor, expected: list[float]) -> bool:
    return found.tolist() == pytest.approx(expected, rel=1e-5)


def test_label_smoothing():
    logs = LOGITS.tolist()
    expected = [-(0.9 * row[y] + 0.1 / 3 * sum(row)) for row, y in zip(logs, TARGETS.tolist(), strict=True)]
    assert close(robust_losses.label_smoothing(LOGITS, TARGETS, "multiclass", share=0.1), expected)
    soft = [[0.95, 0.05], [0.95, 0.95]]
    probabilities = FINDINGS.sigmoid().tolist()
    expected = [
        -sum(t * math.log(p) + (1 - t) * math.log(1 - p) for t, p in zip(ts, ps, strict=True)) / 2
        for ts, ps in zip(soft, probabilities, strict=True)
    ]
    assert close(robust_losses.label_smoothing(FINDINGS, GIVEN, "multilabel", share=0.1), expected)


def test_generalised_cross_entropy():
    expected = [(1 - p**0.7) / 0.7 for p in P]
    assert close(robust_losses.generalised_cross_entropy(LOGITS, TARGETS, "multiclass", q=0.7), expected)
    assert close(robust_losses.generalised_cross_entropy(LOGITS, TARGETS, "multiclass", q=1.0), [0.3, 0.75])
    expected = [sum((1 - p**0.7) / 0.7 for p in ps) / 2 for ps in P_FINDINGS]
    assert close(robust_losses.generalised_cross_entropy(FINDINGS, GIVEN, "multilabel", q=0.7), expected)


def test_symmetric_cross_entropy():
    expected = [-0.1 * math.log(p) + 4 * (1 - p) for p in P]
    found = robust_losses.symmetric_cross_entropy(LOGITS, TARGETS, "multiclass", alpha=0.1, beta=1.0)
    assert close(found, expected)
    expected = [sum(-0.1 * math.log(p) + 4 * (1 - p) for p in ps) / 2 for ps in P_FINDINGS]
    found = robust_losses.symmetric_cross_entropy(FINDINGS, GIVEN, "multilabel", alpha=0.1, beta=1.0)
    assert close(found, expected)


@pytest.mark.parametrize(
    ("task", "logits", "targets"), [("multiclass", LOGITS, TARGETS), ("multilabel", FINDINGS, GIVEN)]
)
def test_each_is_cross_entropy_in_its_limit(task, logits, targets):
    plain = supervised_loss(logits, targets, task)
    for found in (
        robust_losses.label_smoothing(logits, targets, task, share=1e-7),
        robust_losses.generalised_cross_entropy(logits, targets, task, q=1e-4),
        robust_losses.symmetric_cross_entropy(logits, targets, task, alpha=1.0, beta=0.0),
    ):
        assert torch.allclose(found, plain, rtol=1e-3)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("name", ["label_smoothing", "gce", "sce", "elr", "co_teaching"])
def test_logits_of_any_size_give_finite_losses_and_gradients(make_params, task, name):
    logits = torch.tensor([[40.0, -40.0, 0.0], [-90.0, 90.0, 1.0]], requires_grad=True)
    targets = torch.tensor([1, 0]) if task == "multiclass" else torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    params = make_params(rivals={"co_teaching_rate": 0.5}).model_copy(update={"task": task})
    objective = rival_objective(name, params, (2, 3), CPU, World(CPU))
    answers = torch.stack([logits, logits]) if name == "co_teaching" else logits
    objective.loss(batch(targets), logits, answers)["total"].backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
    assert bool((logits.grad != 0).any())


def batch(targets: Tensor, index: list[int] | None = None) -> Batch:
    places = torch.arange(len(targets)) if index is None else torch.tensor(index)
    return Batch(torch.zeros(len(targets), 3, 1, 1), targets, places, epoch=0, step=0, view=0)


def test_the_memory_is_the_running_mean_of_a_samples_answers(make_params):
    elr = EarlyLearning("multiclass", (3, 3), make_params().rivals, CPU, World(CPU))
    answers = LOGITS.exp()
    terms = elr.loss(batch(TARGETS, [2, 0]), LOGITS, LOGITS)
    memory = 0.3 * answers
    pull = torch.log1p(-(memory * answers).sum(dim=1)).mean()
    assert float(terms["early_learning"]) == pytest.approx(float(pull))
    plain = supervised_loss(LOGITS, TARGETS, "multiclass").mean()
    assert float(terms["total"]) == pytest.approx(float(plain + 3 * pull))
    elr.end_epoch()
    kept = elr.state_dict()["memory"]
    assert isinstance(kept, Tensor)
    assert torch.allclose(kept[:, 0], torch.stack([memory[1], torch.zeros(3), memory[0]]))
    again = EarlyLearning("multiclass", (3, 3), make_params().rivals, CPU, World(CPU))
    again.load_state_dict({"memory": kept})
    for one in (elr, again):
        one.loss(batch(TARGETS, [2, 0]), LOGITS, LOGITS)
        assert torch.allclose(one._memory[2, 0], 0.7 * memory[0] + 0.3 * answers[0])


def test_the_pull_grows_with_agreement_and_a_memory_of_nothing_pulls_nowhere():
    memory = torch.tensor([[[0.8, 0.1, 0.1]]])
    near = robust_losses.early_learning_term(torch.tensor([[[0.8, 0.1, 0.1]]]), memory)
    far = robust_losses.early_learning_term(torch.tensor([[[0.1, 0.8, 0.1]]]), memory)
    assert float(near) == pytest.approx(math.log(1 - 0.66))
    assert near < far
    assert float(robust_losses.early_learning_term(memory, torch.zeros(1, 1, 3))) == 0
    findings, remembered = torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]), torch.tensor([[[0.5, 0.1], [0.0, 0.3]]])
    expected = (math.log(1 - 0.46) + math.log(1 - 0.24)) / 2
    assert float(robust_losses.early_learning_term(findings, remembered)) == pytest.approx(expected)


def test_one_finding_is_a_choice_of_two_classes(make_params):
    """The same answers and labels, as a finding and as two classes, give the same loss, step after step."""
    z = torch.tensor([[1.0], [-0.5]])
    as_finding = EarlyLearning("multilabel", (2, 1), make_params().rivals, CPU, World(CPU))
    as_classes = EarlyLearning("multiclass", (2, 2), make_params().rivals, CPU, World(CPU))
    two = torch.cat([torch.zeros_like(z), z], dim=1)
    for _ in range(3):
        one = as_finding.loss(batch(torch.tensor([[1.0], [0.0]])), z, z)
        other = as_classes.loss(batch(torch.tensor([1, 0])), two, two)
        assert float(one["total"]) == pytest.approx(float(other["total"]), rel=1e-5)


def test_rivals_come_last_and_need_no_teachers():
    assert RIVALS == ("early_stopped", "label_smoothing", "gce", "sce", "elr", "co_teaching", "linear_probe", "knn")
    assert tuple(METHODS)[-len(RIVALS) :] == RIVALS
    for name in RIVALS:
        assert METHODS[name].pool is None
        assert not METHODS[name].paper
