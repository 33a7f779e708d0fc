"""Co-teaching: which samples each network learns from, against literal values, and the pair of networks."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.common.errors import UserError
from pipeline.distillation.co_teaching import CoTeaching, Pair, of_first
from pipeline.distillation.losses import supervised_loss
from pipeline.distillation.objective import Batch
from pipeline.params.file import load
from pipeline.params.overlay import overlaid
from pipeline.params.tree import Params
from pipeline.study.plan import make_plan
from pipeline.training.loop import fit, seeded_model
from pipeline.training.resume import ResumeFile
from pipeline.training.world import World
from tests.training.tiny import CPU, schedule, small_network, training_set

TARGETS = torch.tensor([0, 0, 0, 0])


def logits_for(probabilities: list[float]) -> Tensor:
    """Logits of two classes that give class 0 these probabilities, so that the loss is -log of them."""
    return torch.tensor([[math.log(p), math.log(1 - p)] for p in probabilities], requires_grad=True)


def step(objective: CoTeaching, first: Tensor, second: Tensor, epoch: int) -> dict[str, Tensor]:
    batch = Batch(torch.zeros(4, 3, 1, 1), TARGETS, torch.arange(4), epoch=epoch, step=0, view=0)
    return objective.loss(batch, torch.zeros(4, 2), torch.stack([first, second]))


def test_each_network_learns_from_what_the_other_finds_easy():
    """The first is sure of samples 0 and 1, the second of 2 and 3: each takes its gradient from the other's two."""
    first, second = logits_for([0.9, 0.8, 0.2, 0.1]), logits_for([0.3, 0.4, 0.7, 0.6])
    terms = step(CoTeaching("multiclass", 0.5, 1, World(CPU).gather), first, second, epoch=1)
    assert terms["first"].item() == pytest.approx(-(math.log(0.2) + math.log(0.1)) / 2)
    assert terms["second"].item() == pytest.approx(-(math.log(0.3) + math.log(0.4)) / 2)
    assert terms["total"].item() == pytest.approx((terms["first"] + terms["second"]).item())
    terms["total"].backward()
    assert first.grad is not None
    assert second.grad is not None
    assert (first.grad != 0).any(dim=1).tolist() == [False, False, True, True]
    assert (second.grad != 0).any(dim=1).tolist() == [True, True, False, False]


@pytest.mark.parametrize(("epoch", "kept"), [(0, 4), (1, 3), (2, 2), (9, 2)])
def test_the_forgotten_share_rises_over_the_ramp(epoch, kept):
    """Half are forgotten from epoch 2 on; both networks agree, so that the easiest are kept."""
    same = [0.9, 0.8, 0.2, 0.1]
    terms = step(CoTeaching("multiclass", 0.5, 2, World(CPU).gather), logits_for(same), logits_for(same), epoch)
    assert terms["first"].item() == pytest.approx(-sum(map(math.log, same[:kept])) / kept)


def test_nothing_forgotten_is_two_plain_students():
    first, second = logits_for([0.9, 0.8, 0.2, 0.1]), logits_for([0.3, 0.4, 0.7, 0.6])
    terms = step(CoTeaching("multiclass", 0.0, 1, World(CPU).gather), first, second, epoch=5)
    for name, logits in (("first", first), ("second", second)):
        assert terms[name].item() == pytest.approx(float(supervised_loss(logits, TARGETS, "multiclass").mean()))


def test_one_sample_is_always_kept():
    probabilities = [0.9, 0.8, 0.2, 0.1]
    pair = logits_for(probabilities), logits_for(probabilities)
    terms = step(CoTeaching("multiclass", 0.99, 1, World(CPU).gather), *pair, epoch=1)
    assert terms["first"].item() == pytest.approx(-math.log(0.9))


def test_a_pair_answers_as_its_first_network_and_its_weights_are_that_ones(tmp_path):
    first, second = (seeded_model(small_network, 0, name) for name in ("student", "peer"))
    pair = Pair(first, second)
    objective = CoTeaching("multiclass", 0.2, 1, World(CPU).gather)
    fitted = fit(pair, training_set(), objective, schedule(epochs=3), CPU, ResumeFile(tmp_path / "r.pt"))
    alone = small_network()
    alone.load_state_dict(of_first(fitted.last))
    pixels = torch.rand(4, 3, 12, 12)
    assert torch.equal(alone.eval()(pixels), pair.eval()(pixels))
    assert not torch.equal(pair.second.eval()(pixels), pair(pixels))


def write_params(folder: Path, overlay: dict) -> Params:
    """Write params.yaml with other values into a folder, and load it."""
    text, _ = overlaid(Path("params.yaml"), overlay, "test")
    (folder / "params.yaml").write_text(text)
    return load(folder / "params.yaml")


def test_a_forget_rate_that_nothing_says_is_an_error(make_params, tmp_path):
    assert make_params(noise={"kind": "pair", "rate": 0.25}).forget_rate() == 0.25
    assert make_params(noise={"kind": "none"}, rivals={"co_teaching_rate": 0.1}).forget_rate() == 0.1
    with pytest.raises(UserError, match=r"methods names co_teaching.*noise.kind none.*Set rivals.co_teaching_rate"):
        write_params(tmp_path, {"methods": ["co_teaching"], "noise": {"kind": "none"}})
    with pytest.raises(UserError, match=r"study.grids.rivals.methods names co_teaching.*noise.kind matrix"):
        make_plan("rivals", make_params(noise={"kind": "matrix"}), "digest")
    assert make_plan("rivals", load(), "digest").methods[-1] == "co_teaching"


def test_a_grid_without_co_teaching_needs_no_forget_rate(tmp_path):
    params = write_params(tmp_path, {"methods": ["baseline_1", "co_teaching"]})
    assert {unit.values["noise.kind"] for unit in make_plan("noise", params, "digest").units} >= {"matrix", "instance"}
