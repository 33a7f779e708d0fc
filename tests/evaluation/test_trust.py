"""The trust checks: what each says of given accuracies, and that they catch a network that hides its gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.evaluation.attacked import CLEAN, Setting, setting_of, settings
from pipeline.evaluation.attacks import fgsm, pgd, zero_gradients
from pipeline.evaluation.goals import Goal
from pipeline.evaluation.square import square
from pipeline.evaluation.trust import TITLES, Check, trust_checks
from tests.evaluation.linear import Masked, draws_of, greys, linear

SOUND = {
    CLEAN: 0.90,
    Setting("fgsm", "l2", 0.1): 0.70, Setting("pgd", "l2", 0.1): 0.60,
    Setting("square", "l2", 0.1): 0.85, Setting("transfer", "l2", 0.1): 0.80,
    Setting("fgsm", "l2", 0.5): 0.30, Setting("pgd", "l2", 0.5): 0.10,
    Setting("square", "l2", 0.5): 0.60, Setting("transfer", "l2", 0.5): 0.50,
}  # fmt: skip
N = 200


def outcomes(changed: dict[Setting, float], zeros: np.ndarray | None = None) -> dict[str, Check]:
    found = trust_checks(SOUND | changed, np.zeros(N) if zeros is None else zeros)
    assert [check.check for check in found] == list(TITLES)
    return {check.check: check for check in found}


def test_a_sound_network_passes_all():
    found = outcomes({})
    assert all(check.passed for check in found.values())
    assert found["pgd_at_least_fgsm"] == ("pgd_at_least_fgsm", "l2", 0.1, pytest.approx(-0.1), 0.01)
    assert found["square_not_stronger"][2:4] == (0.1, pytest.approx(-0.25))
    assert found["transfer_not_stronger"][2:4] == (0.1, pytest.approx(-0.2))
    assert found["monotone"][2:4] == (0.1, pytest.approx(-0.3))
    assert found["gradients"] == ("gradients", "", 0.0, 0.0, 0.01)


@pytest.mark.parametrize(
    ("changed", "failed", "eps", "value"),
    [
        ({Setting("fgsm", "l2", 0.5): 0.08}, "pgd_at_least_fgsm", 0.5, 0.02),
        ({Setting("square", "l2", 0.1): 0.58}, "square_not_stronger", 0.1, 0.02),
        ({Setting("transfer", "l2", 0.5): 0.05}, "transfer_not_stronger", 0.5, 0.05),
        ({Setting("pgd", "l2", 0.1): 0.08}, "monotone", 0.5, 0.02),
        ({CLEAN: 0.55}, "monotone", 0.1, 0.05),
    ],
)
def test_each_check_fails_on_its_own(changed, failed, eps, value):
    found = outcomes(changed)
    assert [name for name, check in found.items() if not check.passed] == [failed]
    assert found[failed][2:4] == (eps, pytest.approx(value))


def test_a_hundredth_of_the_decisions_or_one_image_is_tolerated():
    ahead = {Setting("fgsm", "l2", 0.5): 0.0905}
    assert outcomes(ahead)["pgd_at_least_fgsm"].passed
    ahead = {Setting("fgsm", "l2", 0.5): 0.08}
    assert outcomes(ahead, np.zeros(40))["pgd_at_least_fgsm"] == (
        "pgd_at_least_fgsm", "l2", 0.5, pytest.approx(0.02), 0.025,
    )  # fmt: skip


def test_images_count_as_without_gradient_where_half_their_pixels_have_none():
    zeros = np.zeros(N)
    zeros[:50] = 0.49
    assert outcomes({}, zeros)["gradients"].value == 0
    zeros[:2] = 0.5
    assert outcomes({}, zeros)["gradients"] == ("gradients", "", 0.0, 0.01, 0.01)
    zeros[2] = 1
    assert not outcomes({}, zeros)["gradients"].passed
    few = np.zeros(64)
    few[0] = 1
    assert outcomes({}, few)["gradients"].passed, "one image"
    few[1] = 1
    assert not outcomes({}, few)["gradients"].passed
    assert not outcomes({Setting("pgd", "l2", 0.1): np.nan})["pgd_at_least_fgsm"].passed, "NaN proves nothing"


def test_each_norm_is_checked_and_what_was_not_tried_is_left_out():
    accuracies = dict.fromkeys(settings([0.1], [8], ["fgsm", "pgd", "square"]), 0.5)
    found = [(check.check, check.norm) for check in trust_checks(accuracies, np.zeros(N))]
    names = ["pgd_at_least_fgsm", "monotone", "square_not_stronger"]
    assert found == [*[(name, norm) for name in names for norm in ("l2", "linf")], ("gradients", "")]


def test_settings_have_names_and_budgets_of_pixels():
    found = list(settings([0.005, 0.25], [8], ["pgd"]))
    assert [one.key for one in found] == ["clean", "pgd/l2/0.005", "pgd/l2/0.25", "pgd/linf/8"]
    assert [setting_of(one.key) for one in found] == found
    assert [one.budget for one in found] == [0, 0.005, 0.25, pytest.approx(8 / 255)]


def accuracies(network: nn.Module, targets: torch.Tensor, images: torch.Tensor) -> tuple[dict, np.ndarray]:
    """What all attacks leave of a network of two classes."""
    goal, drawn, B = Goal("multiclass", targets), draws_of(len(images)), len(images)
    made = {CLEAN: images}
    for eps in (0.05, 0.3):
        made[Setting("fgsm", "linf", eps)] = fgsm(network, images, goal, "linf", eps)
        made[Setting("pgd", "linf", eps)] = pgd(network, images, goal, "linf", eps, steps=10, draws=drawn)
        made[Setting("square", "linf", eps)] = square(
            network, images, goal, "linf", eps, queries=200, draws=drawn(B)
        )  # fmt: skip
    right = {one: float((network(made[one]).argmax(dim=1) == targets).float().mean()) for one in made}
    return right, zero_gradients(network, images, goal).numpy()


def test_a_network_that_hides_its_gradients_is_caught_and_the_same_one_without_the_mask_is_not():
    """Behind a steep sigmoid PGD finds nothing that its random start has not; the search finds images that fool it."""
    network, images = linear(), greys(60)
    targets = network(images).argmax(dim=1)
    open_, masked = (trust_checks(*accuracies(one, targets, images)) for one in (network, Masked(network)))
    assert [check.check for check in open_ if not check.passed] == []
    failed = {check.check: check.value for check in masked if not check.passed}
    assert set(failed) == {"square_not_stronger", "gradients"}
    assert failed["gradients"] == 1
    assert failed["square_not_stronger"] > 0.2
