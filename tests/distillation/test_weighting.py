"""Stochastic weights: their mean, their distribution, and the identities of method.md section 4."""

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.common.seeds import stream
from pipeline.distillation.losses import teacher_divergences
from pipeline.distillation.weighting import (
    StochasticWeights,
    restrict_to_unseen,
    stochastic_weights,
    uniform_weights,
)
from pipeline.params.learning import WeightingParams


def weighting(**changes: object) -> WeightingParams:
    return WeightingParams(**({"per": "step", "concentration": 1.0, "normalise": True, "weight_scale": 1.0} | changes))


def drawn(count: int = 40_000, K: int = 5, **changes: object) -> np.ndarray:
    return stochastic_weights(np.random.default_rng(0), count, K, weighting(**changes))


@pytest.mark.parametrize("concentration", [0.05, 1.0, 10.0])
@pytest.mark.parametrize("normalise", [True, False])
def test_the_mean_weight_is_one_over_k(concentration, normalise):
    weights = drawn(concentration=concentration, normalise=normalise)
    error = weights.std(axis=0) / np.sqrt(len(weights))
    assert (np.abs(weights.mean(axis=0) - 0.2) < 5 * error).all()
    assert (weights >= 0).all()


def test_normalised_weights_sum_to_one_and_are_dirichlet():
    weights = drawn()
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(weights)))
    # Dirichlet(1, ..., 1): each weight is Beta(1, 4), with variance 4 / 150
    assert stats.kstest(weights[:, 0], stats.beta(1, 4).cdf).pvalue > 0.001
    assert weights.var(axis=0) == pytest.approx(np.full(5, 4 / 150), rel=0.05)


def test_raw_weights_are_gamma_over_c_k():
    weights = drawn(normalise=False, concentration=2.0)
    assert stats.kstest(weights[:, 0] * 10, stats.gamma(2.0).cdf).pvalue > 0.001
    assert weights.sum(axis=1).std() > 0.1


def test_small_concentrations_give_nearly_one_teacher_and_never_nan():
    weights = drawn(concentration=0.001)
    assert np.isfinite(weights).all()
    assert np.median(weights.max(axis=1)) > 0.999


def test_weight_scale_multiplies():
    np.testing.assert_allclose(drawn(weight_scale=5.0), 5 * drawn())


def test_uniform_weights():
    assert uniform_weights(4, torch.device("cpu")).tolist() == [[0.25]] * 4


def test_weights_depend_on_seed_epoch_and_step_alone():
    positions = torch.tensor([3, 1])
    first = StochasticWeights(3, 100, 7, weighting())
    assert first.of(0, 0, positions).shape == (3, 1)
    late = first.of(4, 2, positions)
    assert (StochasticWeights(3, 100, 7, weighting()).of(4, 2, positions) == late).all()
    assert (first.of(4, 3, positions) != late).any()
    assert (first.of(5, 2, positions) != late).any()
    by_sample = StochasticWeights(3, 100, 7, weighting(per="sample"))
    assert by_sample.of(0, 0, positions).shape == (3, 2)
    assert (by_sample.of(0, 9, positions.flip(0)).flip(1) == by_sample.of(0, 0, positions)).all()


@pytest.mark.parametrize("per", ["step", "sample"])
def test_an_epochs_weights_are_drawn_and_sent_at_once(per, monkeypatch):
    sent: list[np.ndarray] = []

    def to_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
        sent.append(values)
        return torch.from_numpy(values).to(device)

    monkeypatch.setattr("pipeline.distillation.weighting.to_device", to_device)
    weights = StochasticWeights(3, 100, 7, weighting(per=per))
    index = torch.tensor([42, 0, 99])
    got = [weights.of(epoch, step, index) for epoch in (4, 5) for step in range(6)]
    assert len(sent) == 2
    table = stochastic_weights(stream(7, "teacher weights", 5), 100, 3, weighting()).astype(np.float32)
    expected = table[[2]] if per == "step" else table[[42, 0, 99]]
    assert got[8].dtype == torch.float32
    assert got[8].tolist() == expected.T.tolist()


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_weighted_divergences_are_the_divergence_to_the_weighted_mean_up_to_a_constant(task):
    """Σ w_k KL(q_k ‖ p) - KL(Σ w_k q_k ‖ p) is the same for every student p."""
    generator = torch.Generator().manual_seed(1)
    teachers = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64)
    weights = torch.tensor(drawn(1)[0])
    if task == "multiclass":
        mean_logits = (weights[:, None, None] * teachers.softmax(-1)).sum(0).log()
    else:
        mean_logits = torch.logit((weights[:, None, None] * teachers.sigmoid()).sum(0))
    rests = []
    for seed in range(3):
        student = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        weighted = (weights[:, None] * teacher_divergences(student, teachers, 1.0, task)).sum(0)
        rests.append(weighted - teacher_divergences(student, mean_logits[None], 1.0, task)[0])
    assert torch.allclose(rests[0], rests[1])
    assert torch.allclose(rests[0], rests[2])
    assert (rests[0] >= 0).all()


def test_the_expected_gradient_is_that_of_equal_weights():
    teachers = torch.randn(5, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    student = torch.zeros(6, 4, dtype=torch.float64, requires_grad=True)
    per_teacher = teacher_divergences(student, teachers, 0.5, "multiclass").mean(1)
    gradients = torch.stack([torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in per_teacher])
    draws = torch.tensor(drawn())
    stochastic = torch.einsum("nk,kbc->nbc", draws, gradients)
    error = stochastic.std(0) / np.sqrt(len(draws))
    assert ((stochastic.mean(0) - gradients.mean(0)).abs() < 5 * error + 1e-12).all()


def test_unseen_only_silences_and_renormalises():
    weights = torch.tensor([[0.5], [0.25], [0.25]])
    unseen = torch.tensor([[False, True, False], [True, True, False], [True, False, False]])
    restricted = restrict_to_unseen(weights, unseen)
    assert restricted[:, 0].tolist() == pytest.approx([0.0, 0.5, 0.5])
    assert restricted[:, 1].tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert restricted[:, 2].tolist() == pytest.approx([0.5, 0.25, 0.25])  # every teacher saw it: all are kept
