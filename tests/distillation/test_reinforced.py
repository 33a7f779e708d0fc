"""Baseline IV: the policy gradient in closed form, and that it finds out a bad teacher."""

import numpy as np
import pytest
import torch

from pipeline.distillation.losses import supervised_loss, teacher_divergences
from pipeline.distillation.reinforced import SelectionPolicy, policy_gradient, policy_state, selection_weights


def test_the_gradient_is_advantage_times_action_minus_probability_times_state():
    state = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])  # one teacher, two samples
    gradient = policy_gradient(state, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.25, 0.5]]), advantage=2.0)
    # 2 * (0.75 * (1, 2) - 0.5 * (3, 4))
    assert gradient.tolist() == [[pytest.approx(-1.5), pytest.approx(-1.0)]]


def test_the_gradient_is_that_of_the_log_likelihood():
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(3, 5, 4, generator=generator)
    theta = torch.randn(3, 4, generator=generator).requires_grad_()
    actions = (torch.rand(3, 5, generator=generator) < 0.5).float()
    logits = torch.einsum("kbs,ks->kb", state, theta)
    log_likelihood = torch.distributions.Bernoulli(logits=logits).log_prob(actions).sum()
    (expected,) = torch.autograd.grad(1.7 * log_likelihood, theta)
    got = policy_gradient(state, actions, logits.detach().sigmoid(), 1.7)
    assert torch.allclose(got, expected, atol=1e-5)


def test_selected_teachers_share_the_weight_and_all_do_where_none_was():
    weights = selection_weights(torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert weights.T.tolist() == [[0.5, 0.5, 0.0], [pytest.approx(1 / 3)] * 3, [1.0, 0.0, 0.0]]


def test_the_state_holds_features_probabilities_loss_and_one():
    features = torch.tensor([[1.0, 2.0]])
    state = policy_state(features, torch.zeros(1, 1, 2), torch.tensor([0]), "multiclass")
    assert state[0, 0].tolist() == pytest.approx([1, 2, 0.5, 0.5, np.log(2), 1])


def test_the_policy_starts_at_one_half_and_learns_at_the_end_of_the_epoch_alone():
    policy = SelectionPolicy(2, 3, 400, seed=0, lr=1.0, device=torch.device("cpu"))
    state = torch.ones(2, 400, 3)
    actions = policy.select(state, 0, torch.arange(400))
    assert actions.mean().item() == pytest.approx(0.5, abs=0.08)
    policy.reward(torch.tensor([0.5, 1.5]))  # the first reward is its own baseline: no gradient
    policy.end_epoch()
    assert policy.theta.abs().max() == 0
    actions = policy.select(state, 1, torch.arange(400))
    policy.reward(torch.tensor([0.5]))
    assert policy.theta.abs().max() == 0
    policy.end_epoch()
    expected = 0.5 * (actions - 0.5).sum(1)  # lr 1, advantage -0.5 - (-1), state all ones
    assert torch.allclose(policy.theta, expected[:, None].expand(2, 3), atol=1e-4)


def test_the_baseline_is_a_moving_average():
    policy = SelectionPolicy(1, 1, 4, seed=0, lr=0.1, device=torch.device("cpu"))
    for reward in (-2.0, -1.0, -1.0):
        policy.select(torch.ones(1, 4, 1), 0, torch.arange(4))
        policy.reward(torch.tensor([-reward]))
    # -2; 0.9 * -2 + 0.1 * -1 = -1.9; 0.9 * -1.9 - 0.1 = -1.81
    assert policy.state_dict()["baseline"] == pytest.approx(-1.81)


def test_a_saved_policy_goes_on_as_if_it_had_not_stopped():
    def policy() -> SelectionPolicy:
        return SelectionPolicy(2, 3, 50, seed=1, lr=0.5, device=torch.device("cpu"))

    def epoch(policy: SelectionPolicy, number: int) -> None:
        state = torch.rand(2, 50, 3, generator=torch.Generator().manual_seed(number))
        policy.select(state, number, torch.arange(50))
        policy.reward(torch.tensor([1.0 / (number + 1)]))
        policy.end_epoch()

    whole, first, second = policy(), policy(), policy()
    for number in range(4):
        epoch(whole, number)
    for number in range(2):
        epoch(first, number)
    second.load_state_dict(first.state_dict())
    for number in range(2, 4):
        epoch(second, number)
    assert torch.equal(whole.theta, second.theta)


def selection_rates(seed: int, epochs: int = 30) -> np.ndarray:
    """Train a linear student on three good teachers and one with shuffled logits; return the last selection rates."""
    generator = torch.Generator().manual_seed(seed)
    N, C, B, K = 512, 3, 8, 4
    features = torch.randn(N, 6, generator=generator)
    truth = features @ torch.randn(6, C, generator=generator)
    targets = truth.argmax(1)
    teachers = torch.stack([4 * truth + 0.5 * torch.randn(N, C, generator=generator) for _ in range(K)])
    teachers[-1] = teachers[-1][torch.randperm(N, generator=generator)]
    student = torch.zeros(6, C, requires_grad=True)
    optimiser = torch.optim.SGD([student], lr=0.5)
    policy = SelectionPolicy(K, 6 + C + 2, N, seed, lr=0.1, device=torch.device("cpu"))
    chosen = torch.zeros(K, N)
    for epoch in range(epochs):
        for positions in np.split(np.random.default_rng([seed, epoch]).permutation(N), N // B):
            index = torch.from_numpy(positions)
            logits = features[index] @ student
            state = policy_state(features[index], teachers[:, index], targets[index], "multiclass")
            actions = policy.select(state, epoch, index)
            chosen[:, index] = actions
            divergences = teacher_divergences(logits, teachers[:, index], 1.0, "multiclass")
            loss = (selection_weights(actions) * divergences).sum(0).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                after = supervised_loss(features[index] @ student, targets[index], "multiclass")
            policy.reward(after)
        policy.end_epoch()
    return chosen.mean(1).numpy()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_teacher_with_shuffled_logits_is_selected_less_than_half_as_often(seed):
    rates = selection_rates(seed)
    assert rates[-1] < rates[:-1].mean() / 2, rates


def test_two_processes_learn_what_one_would_from_the_whole_batch():
    state, losses = torch.randn(2, 6, 4), torch.rand(2, 6)
    index = torch.arange(6)
    whole = SelectionPolicy(2, 4, 6, 0, 0.1, torch.device("cpu"))
    for step in range(2):
        whole.select(state, 0, index)
        whole.reward(losses[step])
    whole.end_epoch()

    gathered: list[list[torch.Tensor]] = [[], []]

    def processes(total_of: list) -> list[SelectionPolicy]:
        return [SelectionPolicy(2, 4, 6, 0, 0.1, torch.device("cpu"), total) for total in total_of]

    # first pass: each process notes what it would send; second pass: both receive the sums
    first = processes([lambda sent, part=part: gathered[part].append(sent.clone()) or sent for part in range(2)])
    parts = (slice(0, 4), slice(4, 6))
    for policy, part in zip(first, parts, strict=True):
        for step in range(2):
            policy.select(state[:, part], 0, index[part])
            policy.reward(losses[step, part])
    sums = [sum(sent) for sent in zip(*gathered, strict=True)]
    queues = [iter(sums), iter(sums)]
    second = processes([lambda sent, queue=queue: next(queue) for queue in queues])
    for policy, part in zip(second, parts, strict=True):
        for step in range(2):
            policy.select(state[:, part], 0, index[part])
            policy.reward(losses[step, part])
    gradient = sum(policy._gradient for policy in second)
    assert 0.1 * gradient == pytest.approx(whole.theta.numpy(), abs=1e-6)
