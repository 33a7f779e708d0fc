"""machine.compile: the same training with compiled networks, and a failure put in words."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.training.compiling import compile_model
from pipeline.training.loop import Fitted, Schedule, fit, seeded_model
from pipeline.training.resume import ResumeFile
from tests.training.tiny import CPU, objective, schedule, small_network, training_set


def run(tmp_path: Path, settled: Schedule, kind: str, dropout: float = 0.0) -> Fitted:
    model = seeded_model(lambda: small_network(dropout), 0, "student")
    return fit(model, training_set(), objective(tmp_path, kind), settled, CPU, ResumeFile(tmp_path / "r.pt"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["supervised", "reinforced"])
def test_a_compiled_network_learns_the_same_and_keeps_the_names_of_its_weights(tmp_path, kind):
    plain = run(tmp_path, schedule(epochs=2), kind)
    (tmp_path / "r.pt").unlink()
    fitted = run(tmp_path, schedule(epochs=2, compile=True), kind)
    for expected, got in ((plain.last, fitted.last), (plain.smoothed, fitted.smoothed)):
        assert expected is not None
        assert got is not None
        assert list(got) == list(expected)
        assert all(torch.allclose(got[name], expected[name], atol=1e-4) for name in got)


@pytest.mark.slow
def test_a_killed_compiled_run_ends_like_an_unbroken_one(tmp_path):
    class KilledError(Exception):
        pass

    def kill(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 1:
            raise KilledError

    whole = run(tmp_path, schedule(epochs=2, compile=True), "supervised", dropout=0.1)
    (tmp_path / "r.pt").unlink()
    with pytest.raises(KilledError):
        run(tmp_path, schedule(epochs=2, on_epoch=kill, compile=True), "supervised", dropout=0.1)
    resumed = run(tmp_path, schedule(epochs=2, compile=True), "supervised", dropout=0.1)
    assert all(torch.equal(whole.last[name], resumed.last[name]) for name in whole.last)


def test_a_failed_compilation_is_reported_with_the_way_out(tmp_path, monkeypatch):
    def broken(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> None:
        raise RuntimeError("no C++ compiler")

    compile_really = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda model, **how: compile_really(model, backend=broken, **how))
    with pytest.raises(UserError, match=r"machine\.compile is true, but .*no C\+\+ compiler.* set machine\.compile"):
        run(tmp_path, schedule(epochs=1, compile=True), "supervised")


def test_only_a_network_that_is_to_be_compiled_is(monkeypatch):
    seen: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        seen.append(len(inputs))
        return graph.forward

    compile_really = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda model, **how: compile_really(model, backend=backend, **how))
    first, second = small_network().eval(), small_network().eval()
    compile_model(first)
    pixels = torch.rand(2, 3, 12, 12)
    assert torch.equal(second(pixels), second(pixels))
    assert seen == []
    first(pixels)
    assert len(seen) == 1
