"""`python -m pipeline.registry`: list, promote, rollback, and what is said where there is nothing to do it with."""

import os

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from pipeline import tracking
from pipeline.common.errors import UserError
from pipeline.registry import app
from pipeline.tracking.succession import Succession, settled

NAME = "roskd-phantom"


@pytest.mark.parametrize(
    ("champions", "alias", "right"),
    [
        ([], "", []),
        ([], "3", ["3"]),
        (["1", "2"], "2", ["1", "2"]),
        (["1", "2"], "1", ["1"]),  # cut short between the two writes of a promotion or a rollback
        (["1", "2"], "5", ["1", "2", "5"]),  # a person moved the alias
        (["1", "2", "3"], "1", ["1", "2", "3", "1"]),
        (["1", "2"], "", ["1", "2"]),  # a person deleted it
        (["1"], "", ["1"]),
    ],
)
def test_the_alias_is_right_whatever_a_kill_or_a_person_left(champions, alias, right):
    assert settled(champions, alias) == right


@pytest.fixture
def client(finished) -> MlflowClient:
    """A store with three versions of a model, the first of them champion."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    client.create_registered_model(NAME)
    for number in (1, 2, 3):
        figures = {"val/f1_macro": str(number / 4), "val/f1_macro.interval": "0.1000 to 0.9000", "method": "roskd"}
        client.create_model_version(NAME, str(finished.root), tags=figures)
    Succession(client, NAME).crown("1")
    client.set_registered_model_alias(NAME, "challenger", "3")
    return client


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--model", NAME])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output


def champion(client: MlflowClient) -> str:
    return str(client.get_registered_model(NAME).aliases["champion"])


def test_promotions_are_taken_back_one_by_one(client):
    assert run("promote", "2", "--why", "ward 3 asked for it") == f"{NAME}: version 2 is champion (before: version 1)\n"
    assert run("promote", "challenger") == f"{NAME}: version 3 is champion (before: version 2)\n"
    second = client.get_model_version(NAME, "2")
    assert second.tags["promotion"] == "by hand"
    assert second.tags["promotion.reason"].startswith("ward 3 asked for it (2")
    assert second.description.startswith("by hand: ward 3 asked for it (2")
    assert run("rollback") == f"{NAME}: version 2 is champion (before: version 3)\n"
    assert client.get_model_version(NAME, "3").tags["promotion.reason"].startswith("rolled back to version 2 (")
    assert run("rollback") == f"{NAME}: version 1 is champion (before: version 2)\n"
    with pytest.raises(UserError, match="nothing to roll back to, version 1 is its first champion"):
        run("rollback")
    assert champion(client) == "1"


def test_a_dry_run_changes_nothing(client):
    assert run("promote", "2", "--dry-run") == f"{NAME}: version 2 would be champion (before: version 1)\n"
    run("promote", "2")
    assert run("rollback", "--dry-run") == f"{NAME}: version 1 would be champion (before: version 2)\n"
    assert champion(client) == "2"


def test_the_champion_is_not_promoted_twice(client):
    assert run("promote", "champion") == f"{NAME}: version 1 is the champion already\n"
    assert Succession(client, NAME).champions() == ["1"]


def test_a_version_that_was_deleted_is_passed_over(client):
    run("promote", "2")
    run("promote", "3")
    client.delete_model_version(NAME, "2")
    assert run("rollback") == f"{NAME}: version 1 is champion (before: version 3)\n"


def test_a_champion_whose_alias_was_deleted_comes_back(client):
    run("promote", "2")
    client.delete_registered_model_alias(NAME, "champion")
    assert run("rollback") == f"{NAME}: version 2 is champion (before: none)\n"


def test_an_alias_that_was_moved_elsewhere_is_part_of_the_history(client):
    client.set_registered_model_alias(NAME, "champion", "3")
    assert run("rollback") == f"{NAME}: version 1 is champion (before: version 3)\n"


@pytest.mark.parametrize("write", ["set_registered_model_tag", "set_registered_model_alias"])
@pytest.mark.parametrize("command", [["promote", "3"], ["rollback"]])
def test_a_kill_between_two_writes_leaves_a_champion_and_its_history(client, monkeypatch, write, command):
    run("promote", "2")

    def killed(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, write, killed)
        CliRunner().invoke(app, [*command, "--model", NAME])
    first_write = {"promote": "set_registered_model_tag", "rollback": "set_registered_model_alias"}[command[0]]
    begun = command == ["rollback"] and write != first_write
    assert champion(client) == ("1" if begun else "2")
    assert Succession(client, NAME).champions() == (["1"] if begun else ["1", "2"])


def test_the_list_shows_figures_aliases_and_reasons(client):
    run("promote", "2", "--why", "trial on ward 3")
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines] == ["version", "3", "2", "1"]
    assert "challenger" in lines[1]
    assert "champion 2 of 2" in lines[2]
    assert "f1_macro 0.500 (0.1000 to 0.9000)  by hand: trial on ward 3 (2" in lines[2]
    assert "champion 1 of 2" in lines[3]


@pytest.mark.parametrize("which", ["9", "canary", "latest"])
def test_an_unknown_version_is_named_with_the_known_ones(client, which):
    with pytest.raises(UserError, match=rf"no version or alias '{which}'; known: 1, 2, 3, challenger, champion"):
        run("promote", which)


def test_a_model_that_is_not_registered_is_named_with_those_that_are(client):
    with pytest.raises(UserError, match=rf"no registered model roskd-other; it holds {NAME}\. Run make repro first"):
        tracking.rollback("roskd-other")


def test_a_store_that_does_not_exist_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    for call in (tracking.listed, tracking.rollback, lambda name: tracking.promote(name, "1")):
        with pytest.raises(UserError, match=r"none\.db: no such tracking store; run make repro first"):
            call(NAME)
    assert not (tmp_path / "none.db").exists()


def test_a_server_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"tracking server http://127\.0\.0\.1:9 does not answer: .*Connection refused"):
        tracking.listed(NAME)
