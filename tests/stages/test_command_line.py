"""The command line: plain words and status 2 for a user's mistake, and an eye on the DVC that started it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.runtime.parents import ParentWatch
from pipeline.stages import __main__ as command_line


def run(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["stages", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return ended.value.code


def test_a_mistake_ends_with_status_2_and_no_traceback(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "check") == 2
    told = capsys.readouterr().err
    assert told == "error: params.yaml: no such file; run from the repository's root\n"


def test_a_file_that_cannot_be_written_is_named(monkeypatch, capsys):
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "artifacts/check.txt")

    monkeypatch.setattr(command_line, "app", refuse)
    assert run(monkeypatch, "check") == 2
    assert capsys.readouterr().err.startswith("error: artifacts/check.txt: Permission denied. Check that")


def test_unknown_commands_and_options_are_refused(monkeypatch):
    assert run(monkeypatch, "chekc") == 2
    assert run(monkeypatch, "teacher", "--seed", "x", "--pool", "full") == 2


def test_a_start_that_is_no_stage_is_told(monkeypatch, capsys):
    assert run(monkeypatch, "all", "--start-at", "teachers") == 2
    assert "the stages are check, prepare, split" in capsys.readouterr().err


def test_outside_dvc_nothing_is_watched(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    ParentWatch().require_alive()


WATCHER = """
import os, sys, time
from pipeline.common.errors import UserError
from pipeline.runtime.parents import ParentWatch
watch = ParentWatch()
print("watching", flush=True)
try:
    while True:
        watch.require_alive()
        time.sleep(0.05)
except UserError as error:
    open(sys.argv[1], "w").write(str(error))
"""


def test_a_stage_whose_dvc_was_killed_stops(tmp_path):
    script, told = tmp_path / "dvc_like.py", tmp_path / "told.txt"
    arguments = [sys.executable, "-c", WATCHER, str(told)]
    script.write_text(
        f"import os, subprocess\nsubprocess.run({arguments!r}, env=os.environ | {{'DVC_STAGE': 'student'}})\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert parent.stdout is not None
    assert parent.stdout.readline() == "watching\n"
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while not (told.exists() and told.read_text()):
        assert time.monotonic() < deadline, "the orphan went on"
        time.sleep(0.05)
    assert "the dvc process that started this stage is gone" in told.read_text()
