"""The losses against literal values and limits."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.distillation.losses import (
    Balance,
    balance_for,
    student_loss,
    supervised_loss,
    teacher_divergences,
)

LN2 = math.log(2)


@pytest.mark.parametrize(
    ("logits", "target", "expected"),
    [
        ([0.0, 0.0], 0, LN2),
        ([math.log(3), 0.0], 0, math.log(4 / 3)),
        ([math.log(3), 0.0], 1, math.log(4)),
        ([100.0, 0.0], 1, 100.0),
    ],
)
def test_cross_entropy(logits, target, expected):
    loss = supervised_loss(torch.tensor([logits]), torch.tensor([target]), "multiclass")
    assert loss.tolist() == pytest.approx([expected])


@pytest.mark.parametrize(
    ("logits", "targets", "expected"),
    [
        ([0.0, 0.0], [1.0, 0.0], LN2),
        ([math.log(3), 0.0], [1.0, 1.0], (math.log(4 / 3) + LN2) / 2),
        ([40.0, -40.0], [1.0, 0.0], 0.0),
        ([-40.0, 40.0], [1.0, 0.0], 40.0),
    ],
)
def test_binary_cross_entropy_is_a_mean_over_findings(logits, targets, expected):
    loss = supervised_loss(torch.tensor([logits]), torch.tensor([targets]), "multilabel")
    assert loss.tolist() == pytest.approx([expected], abs=1e-6)


def test_divergence_of_two_softmaxes_by_hand():
    # q = (3/4, 1/4) against p = (1/2, 1/2): 3/4 ln 3/2 + 1/4 ln 1/2
    teacher = torch.tensor([[[math.log(3), 0.0]]])
    divergence = teacher_divergences(torch.zeros(1, 2), teacher, 1.0, "multiclass")
    assert divergence.tolist() == [[pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))]]
    # at tau = 1/2 the logits double: q = (9/10, 1/10)
    divergence = teacher_divergences(torch.zeros(1, 2), teacher, 0.5, "multiclass")
    assert divergence.tolist() == [[pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))]]


def test_divergence_of_bernoullis_is_a_mean_over_findings():
    # q = (3/4, 1/2) against p = (1/2, 1/2)
    teacher = torch.tensor([[[math.log(3), 0.0]]])
    divergence = teacher_divergences(torch.zeros(1, 2), teacher, 1.0, "multilabel")
    assert divergence.tolist() == [[pytest.approx((0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2)]]


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_divergences_match_torch_and_stay_finite_at_forty(task):
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    teachers = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64)
    got = teacher_divergences(student, teachers, 2.0, task)
    for k in range(3):
        if task == "multiclass":
            expected = F.kl_div((student / 2).log_softmax(-1), (teachers[k] / 2).softmax(-1), reduction="none").sum(-1)
        else:
            q, p = (teachers[k] / 2).sigmoid(), (student / 2).sigmoid()
            expected = (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).mean(-1)
        assert torch.allclose(got[k], expected)
    extreme = teacher_divergences(torch.tensor([[40.0, -40.0]]), torch.tensor([[[-40.0, 40.0]]]), 0.5, task)
    assert extreme.item() == pytest.approx(160.0 if task == "multiclass" else 80.0)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_student_that_agrees_with_its_teacher_has_no_divergence(task):
    logits = torch.randn(6, 3)
    assert teacher_divergences(logits, logits[None], 0.5, task).abs().max() < 1e-6


def test_the_total_is_alpha_tau_squared_kd_plus_the_rest_supervised():
    supervised = torch.tensor([1.0, 3.0])
    divergences = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    weights = torch.tensor([[0.25], [0.75]])
    terms = student_loss(supervised, divergences, weights, tau=2.0, alpha=0.9)
    # kd = 4 * mean(0.25 + 2.25, 0.5 + 3.0) = 4 * 3 = 12; total = 0.9 * 12 + 0.1 * 2
    assert terms["distillation"].item() == pytest.approx(12.0)
    assert terms["supervised"].item() == pytest.approx(2.0)
    assert terms["total"].item() == pytest.approx(11.0)
    assert student_loss(supervised, divergences, weights, tau=2.0, alpha=0.0)["total"].item() == pytest.approx(2.0)


def test_identical_teachers_give_the_single_teacher_loss():
    student, teacher = torch.randn(7, 4), torch.randn(1, 7, 4)
    one = teacher_divergences(student, teacher, 0.5, "multiclass")
    three = teacher_divergences(student, teacher.expand(3, -1, -1), 0.5, "multiclass")
    weights = torch.tensor([[0.5], [0.2], [0.3]])
    assert torch.allclose((weights * three).sum(0), one[0], atol=1e-6)


def test_balances_from_counts():
    targets = np.array([0, 0, 0, 1])
    device = torch.device("cpu")
    weighted = balance_for("weighted", "multiclass", targets, 2, device)
    assert weighted.class_weights is not None
    assert weighted.class_weights.tolist() == pytest.approx([4 / 6, 2.0])
    adjusted = balance_for("logit_adjusted", "multiclass", targets, 2, device)
    assert adjusted.log_prior is not None
    assert adjusted.log_prior.tolist() == pytest.approx([math.log(0.75), math.log(0.25)])
    findings = np.array([[1, 0], [0, 0], [0, 1], [0, 1]], dtype=np.float32)
    positive = balance_for("weighted", "multilabel", findings, 2, device).positive_weights
    assert positive is not None
    assert positive.tolist() == pytest.approx([3.0, 1.0])
    assert balance_for("none", "multiclass", targets, 2, device) == Balance()


def test_balanced_losses_by_hand():
    logits, targets = torch.zeros(2, 2), torch.tensor([0, 1])
    weighted = supervised_loss(logits, targets, "multiclass", Balance(class_weights=torch.tensor([0.5, 2.0])))
    assert weighted.tolist() == pytest.approx([0.5 * LN2, 2 * LN2])
    prior = torch.tensor([math.log(0.75), math.log(0.25)])
    adjusted = supervised_loss(logits, targets, "multiclass", Balance(log_prior=prior))
    assert adjusted.tolist() == pytest.approx([-math.log(0.75), -math.log(0.25)])
    positive = supervised_loss(
        torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), "multilabel", Balance(positive_weights=torch.tensor([3.0, 3.0]))
    )
    assert positive.tolist() == pytest.approx([2 * LN2])
