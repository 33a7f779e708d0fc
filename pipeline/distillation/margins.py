"""What a training says of its own labels while it learns them: margins and disagreement, a vector each."""

import torch
from torch import Tensor, nn

from models.names import Task
from pipeline.distillation.objective import Batch, Objective
from pipeline.distillation.rivals import Processes


class Watched:
    """An objective beside which each sample's margin is summed, and the epochs in which the answer was another label.

    The mean margin over training is AUM (Pleiss et al. 2020): the logit of the given label minus the largest other one,
    before the step; multilabel: of each finding, the logit with the sign of the label. Wrong labels have low ones.
    """

    def __init__(self, inner: Objective, task: Task, shape: tuple[int, int], device: torch.device) -> None:
        """`shape`: number of training samples and classes."""
        self._task: Task = task
        self._inner = inner
        of_labels = (shape[0],) if task == "multiclass" else shape
        self._margins, self._disagreed = (torch.zeros(of_labels, device=device) for _ in range(2))
        self._seen = torch.zeros(shape[0], device=device)

    def loss(self, batch: Batch, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """The inner objective's."""
        margins = label_margins(logits.detach(), batch.targets, self._task)
        self._margins.index_add_(0, batch.index, margins)
        self._disagreed.index_add_(0, batch.index, (margins < 0).float())
        self._seen.index_add_(0, batch.index, torch.ones_like(batch.index, dtype=torch.float32))
        return self._inner.loss(batch, features, logits)

    def after_step(self, batch: Batch, model: nn.Module) -> None:
        """The inner objective's."""
        self._inner.after_step(batch, model)

    def end_epoch(self) -> None:
        """The inner objective's."""
        self._inner.end_epoch()

    def found(self, processes: Processes) -> dict[str, Tensor]:
        """Return `aum`, the mean margin, and `disagreed`, the share of the looks at a sample that saw another label."""
        seen = processes.total(self._seen).clamp(min=1)
        seen = seen if self._margins.ndim == 1 else seen[:, None]
        sums = {"aum": self._margins, "disagreed": self._disagreed}
        return {name: (processes.total(value) / seen).cpu() for name, value in sums.items()}

    def state_dict(self) -> dict[str, object]:
        """The sums, and the inner memory."""
        sums = {"margins": self._margins, "disagreed": self._disagreed, "seen": self._seen}
        return {"inner": self._inner.state_dict(), **sums}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up saved sums."""
        for name, own in (("margins", self._margins), ("disagreed", self._disagreed), ("seen", self._seen)):
            saved = state[name]
            assert isinstance(saved, Tensor)
            own.copy_(saved)
        inner = state["inner"]
        assert isinstance(inner, dict)
        self._inner.load_state_dict(inner)


def label_margins(logits: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Return each label's margin, (B,) or for multilabel (B, C); `logits`: (B, C)."""
    if task == "multilabel":
        return logits * (2 * targets - 1)
    own = logits.gather(1, targets[:, None]).squeeze(1)
    others = logits.scatter(1, targets[:, None], -torch.inf)
    return own - others.amax(dim=1)
