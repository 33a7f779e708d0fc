"""Baseline IV: teacher selection learnt by REINFORCE (Yuan et al., AAAI 2021), as section 4 of the method reads it.

Departures from the original, which is written for text: the state holds the image student's pooled features, not a
sentence embedding; the reward is the negative supervised loss of the batch after the student's step (the original also
tries the distillation loss and the accuracy on a development set); a moving-average baseline steadies the gradient;
the student is not trained on all teachers before the policy begins to learn.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from models.inference import to_device
from models.names import Task
from pipeline.common.seeds import stream
from pipeline.distillation.losses import supervised_loss

BASELINE_DECAY = 0.9


def policy_state(features: Tensor, teacher_logits: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Return the state of each teacher and sample, (K, B, F + C + 2).

    [student features (B, F), teacher probabilities (K, B, C), teacher supervised loss (K, B), constant 1 for the bias].
    """
    K, B, _ = teacher_logits.shape
    probabilities = teacher_logits.softmax(-1) if task == "multiclass" else teacher_logits.sigmoid()
    losses = torch.stack([supervised_loss(logits, targets, task) for logits in teacher_logits])
    parts = [features.expand(K, B, -1), probabilities, losses[..., None], torch.ones_like(losses)[..., None]]
    return torch.cat(parts, dim=-1)


def selection_weights(actions: Tensor) -> Tensor:
    """Share the weight evenly among the selected teachers; all of them where none was. `actions`: 0/1 (K, B)."""
    actions = torch.where(actions.sum(dim=0) > 0, actions, torch.ones_like(actions))
    return actions / actions.sum(dim=0)


def policy_gradient(state: Tensor, actions: Tensor, probabilities: Tensor, advantage: Tensor | float) -> Tensor:
    """Return (R - b) Σ_b (a - π) s for each teacher, (K, S): ∇ log π of a logistic policy, times the advantage.

    `state`: (K, B, S); `actions`, `probabilities`: (K, B); `advantage`: a scalar.
    """
    return advantage * torch.einsum("kb,kbs->ks", actions - probabilities, state)


class SelectionPolicy:
    """pi_k(select | state) = sigmoid(theta_k · state), one per teacher; it starts at 1/2 and learns once per epoch."""

    def __init__(
        self,
        K: int,
        state_size: int,
        num_samples: int,
        seed: int,
        lr: float,
        device: torch.device,
        total: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> None:
        """`total` sums a tensor over the processes that train together."""
        self._total = total
        self._num_samples, self._seed, self._lr = num_samples, seed, lr
        self.theta = torch.zeros(K, state_size, device=device)
        self._gradient = torch.zeros_like(self.theta)
        self._baseline: Tensor | None = None
        self._pending: tuple[Tensor, Tensor, Tensor] | None = None
        self._uniforms: tuple[int, Tensor] | None = None

    def select(self, state: Tensor, epoch: int, index: Tensor) -> Tensor:
        """Draw the teachers of each sample and return 0/1 (K, B); remembers the draw for `reward`.

        `index`: int64 (B,), training samples, on the policy's device.
        """
        probabilities = torch.sigmoid(torch.einsum("kbs,ks->kb", state, self.theta))
        actions = (probabilities > self._epoch_uniforms(epoch)[index].T).to(state.dtype)
        self._pending = (state, actions, probabilities)
        return actions

    def _epoch_uniforms(self, epoch: int) -> Tensor:
        if self._uniforms is None or self._uniforms[0] != epoch:
            rng = stream(self._seed, "teacher selection", epoch)
            drawn = rng.random((self._num_samples, self.theta.shape[0])).astype(np.float32)
            self._uniforms = (epoch, to_device(drawn, self.theta.device))
        return self._uniforms[1]

    def reward(self, losses: Tensor) -> None:
        """Take the supervised losses (B,) that the student has after its step: R is minus their mean over the batch.

        b <- 0.9 b + 0.1 R, beginning at the first reward.
        """
        if self._pending is None:
            raise RuntimeError("a reward without a selection before it")
        losses = losses.double()  # advantages are small differences
        own = losses.new_full((), len(losses))  # filled on the device: a copy from the host would wait for it
        lost, count = self._total(torch.stack([losses.sum(), own]))
        reward = -lost / count
        baseline = reward if self._baseline is None else self._baseline
        self._gradient += policy_gradient(*self._pending, reward - baseline)
        self._baseline = BASELINE_DECAY * baseline + (1 - BASELINE_DECAY) * reward
        self._pending = None

    def end_epoch(self) -> None:
        """Apply the epoch's policy gradient (ascent)."""
        self.theta += self._lr * self._total(self._gradient)
        self._gradient.zero_()

    def state_dict(self) -> dict[str, object]:
        """What a resumed run needs at the end of an epoch."""
        return {"theta": self.theta, "baseline": self._baseline}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up a saved policy."""
        self.theta.copy_(state["theta"])  # type: ignore[arg-type]
        self._baseline = state["baseline"]  # type: ignore[assignment]
