"""What long work shows while it runs."""

import sys
import threading

import pytest

from pipeline.runtime import progress
from pipeline.runtime.progress import Epochs, Progress


def test_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_LINE_EVERY", 0.0)
    with Progress("prepare", 1200, "image") as bar:
        bar.advance(500)
        bar.advance(600, "2 quarantined")
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "prepare: 500 of 1,200 images, 0 s", "prepare: 1,100 of 1,200 images, 2 quarantined, 0 s",
    ]  # fmt: skip
    assert shown.err == ""


def test_lines_are_seconds_apart_but_for_one_that_must_be_shown(capsys):
    bar = Progress("prepare", 1200, "image")
    for _ in range(11):
        bar.advance(100)
    assert capsys.readouterr().out == ""
    bar.advance(100, always=True)
    assert capsys.readouterr().out == "prepare: 1,200 of 1,200 images, 0 s\n"


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("prepare", 1200, "image") as bar:
        bar.advance(1200, "2 quarantined")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "prepare: 100%" in shown.err
    assert "1200/1200" in shown.err
    assert "2 quarantined" in shown.err


def test_a_bar_appears_with_the_first_work_and_stays_after_an_error(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    before = threading.active_count()

    def work() -> None:
        with Progress("prepare", 10, "image") as bar:
            assert threading.active_count() == before  # the bar's own must not be there when workers fork
            bar.advance(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert "5/10" in capsys.readouterr().err


def metrics_of(loss: float, f1: float) -> dict[str, float]:
    return {"train/loss": loss, "val/f1_macro": f1, "val/loss": 9.0}


def test_epochs_show_the_loss_and_what_selects_and_the_last_is_always_shown(capsys, monkeypatch):
    with Epochs("student roskd, seed 0", 12, "f1_macro") as epochs:
        epochs.report(1, metrics_of(0.5, 0.25))
        monkeypatch.setattr(progress, "PLAIN_LINE_EVERY", 0.0)
        epochs.report(8, metrics_of(0.25, 0.5))  # continued from epoch 7
        monkeypatch.setattr(progress, "PLAIN_LINE_EVERY", 60.0)
        epochs.report(11, metrics_of(0.2, 0.5))
        epochs.report(12, metrics_of(0.1, 0.75))
    assert capsys.readouterr().out.splitlines() == [
        "student roskd, seed 0: 8 of 12 epochs, loss 0.250, val f1_macro 0.500, 0 s",
        "student roskd, seed 0: 12 of 12 epochs, loss 0.100, val f1_macro 0.750, 0 s",
    ]
