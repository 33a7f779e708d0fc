"""Whether figures under attack can be trusted (method, section 10).

A network can look robust because its gradients are useless (Athalye et al. 2018, Carlini et al. 2019): then a weak
attack beats a strong one, or a search without gradients beats both. Such figures must not be believed.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from pipeline.evaluation.attacked import CLEAN, Attack, Norm, Setting

TITLES = {
    "pgd_at_least_fgsm": "PGD is at least as strong as FGSM",
    "monotone": "Accuracy under PGD falls with eps",
    "square_not_stronger": "Square, without gradients, does not beat PGD",
    "gradients": "Gradients are not zero",
    "transfer_not_stronger": "Images made against Baseline I do not beat PGD",
}
CHECK_COLUMNS = ("check", "norm", "eps", "value", "limit", "passed")
MASKED_PIXELS = 0.5
"""An image counts as one without gradient where it is exactly 0 for so large a share of its pixels."""
MASKED_IMAGES = 0.01
"""So large a share of such images is tolerated, or one."""
TOLERATED = 0.01
"""A weaker attack may be ahead by so large a share of the decisions, or by one image."""


class Check(NamedTuple):
    """One outcome: passed where `value` is at most `limit`; `norm` is empty where it speaks of clean images.

    `value`: by how much of the accuracy the weaker attack is ahead of PGD, the largest over the budgets of the norm; or
    the share of images without gradient. `eps`: the budget at which it is largest, 0 where there is none.
    """

    check: str
    norm: str
    eps: float
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        """NaN does not pass."""
        return self.value <= self.limit


def trust_checks(accuracies: Mapping[Setting, float], zeros: np.ndarray) -> list[Check]:
    """Return the outcome of every check that was measured, by norm.

    `accuracies`: of all settings, the clean images among them; `zeros`: (N,) the share of each clean image's pixels
    whose gradient is exactly 0. Settings that were left out, such as all transfers, leave out their checks.
    """
    tolerated = max(TOLERATED, 1 / len(zeros))
    masked = float((zeros >= MASKED_PIXELS).mean())
    found = [Check("gradients", "", 0.0, masked, max(MASKED_IMAGES, 1 / len(zeros)))]
    for norm in dict.fromkeys(setting.norm for setting in accuracies if setting.norm):
        of_pgd = _by_eps(accuracies, "pgd", norm)
        weaker: dict[str, Attack] = {
            "pgd_at_least_fgsm": "fgsm", "square_not_stronger": "square", "transfer_not_stronger": "transfer",
        }  # fmt: skip
        for name, attack in weaker.items():
            of_other = _by_eps(accuracies, attack, norm)
            if of_other:
                ahead = {eps: of_pgd[eps] - of_other[eps] for eps in of_other}
                found.append(_largest(name, norm, ahead, tolerated))
        rises = dict(_rises({0.0: accuracies[CLEAN]} | of_pgd))
        found.append(_largest("monotone", norm, rises, tolerated))
    order = list(TITLES)
    return sorted(found, key=lambda one: order.index(one.check))


def _by_eps(accuracies: Mapping[Setting, float], attack: Attack, norm: Norm | str) -> dict[float, float]:
    return {one.eps: value for one, value in accuracies.items() if (one.attack, one.norm) == (attack, norm)}


def _rises(by_eps: Mapping[float, float]) -> Iterator[tuple[float, float]]:
    """By how much accuracy is above its lowest so far, at each budget after the first."""
    ordered = sorted(by_eps)
    for place, eps in enumerate(ordered[1:], start=1):
        yield eps, by_eps[eps] - min(by_eps[earlier] for earlier in ordered[:place])


def _largest(name: str, norm: str, values: Mapping[float, float], limit: float) -> Check:
    eps = max(values, key=lambda one: values[one])
    return Check(name, norm, eps, values[eps], limit)
