"""The command line: plain words and status 2 for a user's mistake, and an eye on the DVC that started it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.common.layout import Layout
from pipeline.runtime.parents import ParentWatch
from pipeline.stages import __main__ as command_line
from pipeline.stages import all as all_stages


def run(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["stages", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return ended.value.code


def test_a_mistake_ends_with_status_2_and_no_traceback(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "check") == 2
    printed = capsys.readouterr().err
    assert printed == "error: params.yaml: no such file; run from the repository's root\n"


def test_a_file_that_cannot_be_written_is_named(monkeypatch, capsys):
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "artifacts/check.txt")

    monkeypatch.setattr(command_line, "app", refuse)
    assert run(monkeypatch, "check") == 2
    assert capsys.readouterr().err.startswith("error: artifacts/check.txt: Permission denied. Check that")


def test_unknown_commands_and_options_are_refused(monkeypatch):
    assert run(monkeypatch, "chekc") == 2
    assert run(monkeypatch, "teacher", "--seed", "x", "--pool", "full") == 2


def unframed(printed: str) -> str:
    """What Typer prints in a frame, on one line."""
    return " ".join(printed.replace("│", " ").split())


@pytest.mark.parametrize("arguments", [("teacher", "--pool", "ful"), ("soft-labels", "--pool", "plain")])
def test_a_pool_that_is_none_is_refused(monkeypatch, capsys, arguments):
    assert run(monkeypatch, *arguments, "--seed", "0") == 2
    assert f"'{arguments[-1]}' is not one of 'full', 'subset'" in unframed(capsys.readouterr().err)


def test_a_group_of_students_that_is_none_is_refused(monkeypatch, capsys):
    assert run(monkeypatch, "student", "--seed", "0", "--group", "student_plain") == 2
    assert "'student_plain' is not one of 'plain', 'full', 'subset'" in unframed(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "module", "passed"),
    [
        *(((name,), name, {}) for name in ("check", "code", "prepare", "split", "noise", "subsets")),
        *(((name,), name, {}) for name in ("evaluate", "export", "report", "track")),
        (("teacher", "--seed", "3", "--pool", "full"), "teacher", {"seed": 3, "pool": "full"}),
        (("soft-labels", "--seed", "3", "--pool", "subset"), "soft_labels", {"seed": 3, "pool": "subset"}),
        (("student", "--seed", "3", "--group", "plain"), "student", {"seed": 3, "group": "plain"}),
        (("all", "--start-at", "noise"), "all", {"start_at": "noise"}),
        (("all",), "all", {"start_at": None}),
    ],
)
def test_each_command_runs_its_stage_on_the_artefacts_of_this_folder(
    monkeypatch, make_params, arguments, module, passed
):
    ran = []
    monkeypatch.setattr(command_line, "run_stage", lambda *called: ran.append(called))
    assert run(monkeypatch, *arguments) == 0
    ((name, params, layout, given),) = ran
    assert (name, given) == (module, passed)
    assert params == make_params()
    assert layout.root == Path("artifacts")


def test_one_of_several_processes_leaves_a_mistake_to_the_launcher(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "check") == 2
    assert capsys.readouterr().err == ""
    assert "params.yaml: no such file" in (tmp_path / "error.json").read_text()


def test_all_stages_follow_each_other_from_the_one_asked_for(monkeypatch, make_params, tmp_path, capsys):
    ran = []
    monkeypatch.setattr(all_stages, "run_stage", lambda module, params, layout, given: ran.append((module, given)))
    params, layout = make_params(seeds=[4, 7]), Layout(tmp_path)
    all_stages.run(params, layout)
    whole = list(ran)
    first = ["check", "code", "prepare", "split", "noise", "subsets", "features", "external"]
    assert [module for module, _ in whole[:8]] == first
    last = [module for module, _ in whole]
    last = last[last.index("evaluate") :]
    tried = ["landscape", "robustness", "shift"]
    assert last == [
        "evaluate", "audit", *["landscape"] * 4, *["shift"] * 4, *["robustness"] * 4, "robustness_compare", "export",
        "report", "track",
    ]  # fmt: skip
    looked_at = [{"seed": seed, "method": method} for seed in (4, 7) for method in ("roskd", "baseline_3")]
    for stage in tried:
        assert [given for module, given in whole if module == stage] == looked_at
    each = [
        ("student", {"group": "plain"}), ("teacher", {"pool": "full"}), ("soft_labels", {"pool": "full"}),
        ("student", {"group": "full"}), ("teacher", {"pool": "subset"}), ("soft_labels", {"pool": "subset"}),
        ("student", {"group": "subset"}),
    ]  # fmt: skip
    assert whole[8 : -len(last)] == [(module, {"seed": seed} | given) for seed in (4, 7) for module, given in each]
    assert "[teacher_subset] seed=7 pool=subset\n" in capsys.readouterr().out
    ran.clear()
    all_stages.run(params, layout, start_at="soft_labels_subset")
    assert ran == whole[13:]


def test_a_start_that_is_no_stage_is_reported(monkeypatch, capsys):
    assert run(monkeypatch, "all", "--start-at", "teachers") == 2
    assert "error: --start-at is 'teachers'; the stages are check, code, prepare, split" in capsys.readouterr().err


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
    script, reason = tmp_path / "dvc_like.py", tmp_path / "reason.txt"
    arguments = [sys.executable, "-c", WATCHER, str(reason)]
    script.write_text(
        f"import os, subprocess\nsubprocess.run({arguments!r}, env=os.environ | {{'DVC_STAGE': 'student'}})\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert parent.stdout is not None
    assert parent.stdout.readline() == "watching\n"
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while not (reason.exists() and reason.read_text()):
        assert time.monotonic() < deadline, "the orphan went on"
        time.sleep(0.05)
    assert "the dvc process that started this stage is gone" in reason.read_text()
