"""MLproject, python_env.yaml and Makefile: what they run, and that they install the one lock file."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from mlflow.projects.utils import load_project
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).parents[1]


def run_entry_point(name, parameters, folder):
    """Run an entry point's command with stand-ins for python and dvc; return what they were called with."""
    for program in ("python", "dvc"):
        stand_in = folder / program
        stand_in.write_text('#!/bin/sh\nprintf "%s" "${0##*/}"; printf "<%s>" "$@"; echo\n')
        stand_in.chmod(0o755)
    command = load_project(str(REPOSITORY)).get_entry_point(name).compute_command(parameters, str(folder))
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    result = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "parameters", "calls"),
    [
        ("main", {}, ["python<-m><pipeline.stages><preset>", "dvc<repro>"]),
        (
            "main",
            {"preset": "paper-lesion", "data": "/my images/isic"},
            ["python<-m><pipeline.stages><preset><paper-lesion><--data></my images/isic>", "dvc<repro>"],
        ),
        ("main", {"data": "x; rm -rf /"}, ["python<-m><pipeline.stages><preset><--data><x; rm -rf />", "dvc<repro>"]),
        (
            "study",
            {"name": "my study"},
            ["dvc<repro><noise>", "python<-m><pipeline.study><run><my study><--workers><1>"],
        ),
        ("report", {}, ["python<-m><pipeline.stages><report>"]),
        ("serve", {}, ["python<-m><pipeline.stages><serve><--port><5000>"]),
        (
            "serve",
            {"port": "8080", "model": "models:/roskd-phantom/2"},
            ["python<-m><pipeline.stages><serve><--port><8080><--model><models:/roskd-phantom/2>"],
        ),
        (
            "predict",
            {"images": "/ward 3/*.dcm", "model": "models:/roskd-phantom/2"},
            [
                "python<-m><pipeline.predict></ward 3/*.dcm><--out><predictions.csv><--model><models:/roskd-phantom/2>",
            ],
        ),
    ],
)
def test_entry_points(name, parameters, calls, tmp_path):
    assert run_entry_point(name, parameters, tmp_path) == calls


def test_an_mlflow_project_installs_the_lock_file():
    environment = YAML(typ="safe").load((REPOSITORY / "python_env.yaml").read_text())
    assert environment["python"] == "3.11"
    assert environment["dependencies"] == ["-r requirements.lock"]


def test_what_a_user_names_reaches_no_shell(tmp_path):
    """`make repro PRESET='$(touch x)'` names a preset that does not exist; it runs nothing."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/.ready").touch()
    (tmp_path / "requirements.lock").touch()
    os.utime(tmp_path / "requirements.lock", (0, 0))
    shutil.copy("Makefile", tmp_path)
    for name in ("python", "dvc"):
        program = tmp_path / ".venv/bin" / name
        program.write_text(f'#!/bin/sh\nprintf "{name}|"; printf "%s|" "$@"; echo\n')
        program.chmod(0o755)
    for attack in ("$(touch x)", "`touch x`", '"; touch x; "', "a b"):
        for target, option in (("repro", "PRESET"), ("repro", "DATA"), ("study", "STUDY"), ("serve", "MODEL")):
            command = ["make", target, f"{option}={attack.replace('$', '$$')}"]
            printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
            assert f"|{attack}|" in printed
    assert not (tmp_path / "x").exists()
