"""What preparing says while it runs."""

import sys

from pipeline.data import progress


def test_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_LINE_EVERY", 0.0)
    bar = progress.Progress("prepare", 1200)
    bar.advance(500)
    bar.advance(600)
    bar.close()
    told = capsys.readouterr()
    assert told.out.splitlines() == ["prepare: 500 of 1,200 images, 0 s", "prepare: 1,100 of 1,200 images, 0 s"]
    assert told.err == ""


def test_lines_are_seconds_apart(capsys):
    bar = progress.Progress("prepare", 1200)
    for _ in range(12):
        bar.advance(100)
    assert capsys.readouterr().out == ""


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = progress.Progress("prepare", 1200)
    bar.advance(1200)
    bar.close()
    told = capsys.readouterr()
    assert told.out == ""
    assert "prepare: 100%" in told.err
    assert "1200/1200" in told.err
