"""What is checked and announced before torchrun starts processes, and how their failure is put in words."""

import json
from types import SimpleNamespace

import pytest

from pipeline.common.errors import UserError
from pipeline.common.layout import Layout
from pipeline.runtime import launch
from pipeline.stages.run import SHARED, run_stage


@pytest.fixture
def environment(monkeypatch) -> pytest.MonkeyPatch:
    """An environment without torchrun's settings."""
    for name in ("PET_NNODES", "PET_RDZV_ENDPOINT", "PET_NODE_RANK", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_ERROR_FILE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"PET_NNODES": "two"}, "PET_NNODES is 'two' in the environment; it is the number of machines, 1 or more"),
        ({"PET_NNODES": "0"}, "PET_NNODES is '0' in the environment"),
        ({"PET_NNODES": "2"}, "PET_NNODES is 2: set PET_NNODES (number of machines, 2 or more) and PET_RDZV_ENDPOINT"),
    ],
)
def test_settings_of_several_machines_that_do_not_fit_are_refused(environment, tmp_path, settings, message):
    for name, value in settings.items():
        environment.setenv(name, value)
    for start in (lambda path: launch.torchrun(["student"], 2, path), lambda path: launch.join(2, path)):
        with pytest.raises(UserError) as error:
            start(tmp_path / "launch.json")
        assert str(error.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_joining_without_the_addresses_is_refused(environment, tmp_path):
    with pytest.raises(UserError, match=r"join: set PET_NNODES \(number of machines, 2 or more\) and PET_RDZV_ENDPO"):
        launch.join(None, tmp_path / "launch.json")


@pytest.mark.parametrize("fails", [False, True])
def test_several_machines_find_the_stage_in_the_announcement_while_it_runs(environment, tmp_path, fails):
    path, seen = tmp_path / "artifacts/launch.json", []

    def run(job: dict, processes: int | None, node: int) -> None:
        seen.append((json.loads(path.read_text()) if path.exists() else None, job, processes, node))
        if fails:
            raise UserError("no memory")

    environment.setattr(launch, "_run", run)
    for nodes in ("1", "2"):
        environment.setenv("PET_NNODES", nodes)
        environment.setenv("PET_RDZV_ENDPOINT", "localhost:1")
        try:
            launch.torchrun(["student", "--seed=0"], 3, path)
        except UserError:
            assert fails
        assert not path.exists()
    (alone, job, *rest), (announced, second, *_) = seen
    assert (alone, announced) == (None, second)
    assert job["arguments"] == ["student", "--seed=0"]
    assert rest == [3, 0]
    assert job["id"] != second["id"]


def test_a_further_machine_takes_part_once_in_each_stage_and_waits_on_after_a_mistake(environment, tmp_path, capsys):
    path, ran = tmp_path / "launch.json", []

    def run(job: dict, processes: int | None, node: int) -> None:
        ran.append((job["id"], processes, node))
        raise UserError("labels.csv: no such file")

    def pass_time(seconds: float) -> None:
        if len(ran) == 2:
            raise KeyboardInterrupt
        path.write_text(json.dumps({"id": f"job {len(ran)}", "arguments": ["student", f"--seed={len(ran)}"]}))

    environment.setenv("PET_NNODES", "3")
    environment.setenv("PET_RDZV_ENDPOINT", "localhost:1")
    environment.setenv("PET_NODE_RANK", "2")
    environment.setattr(launch, "_run", run)
    environment.setattr(launch.time, "sleep", pass_time)
    with pytest.raises(KeyboardInterrupt):
        launch.join(2, path)
    assert ran == [("job 0", 2, 2), ("job 1", 2, 2)]
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        f"join: waiting for stages announced in {path}", "join: student --seed=0", "join: student --seed=1",
    ]  # fmt: skip
    assert shown.err == "join: labels.csv: no such file\n" * 2


def failure(exitcode: int, **file: object) -> SimpleNamespace:
    """A ChildFailedError as torchrun raises it, of process 1."""
    first = SimpleNamespace(
        error_file_data=file, message=file.get("message"), exitcode=exitcode, signal_name=lambda: "SIGKILL"
    )
    return SimpleNamespace(get_first_failure=lambda: (1, first))


def test_a_process_that_failed_is_put_in_words():
    mistake = failure(2, message="labels.csv: no such file", user_error=True)
    assert launch._reason(mistake) == "labels.csv: no such file"
    assert launch._reason(failure(-9)).startswith("process 1 of the stage died of signal SIGKILL; the others were")
    assert launch._reason(failure(1, message={"bug": 1})).startswith("process 1 of the stage died with exit status 1;")


def test_a_mistake_is_left_for_the_launcher(environment, tmp_path):
    launch.report_failure("nobody launched this process")
    environment.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    launch.report_failure("labels.csv: no such file")
    content = json.loads((tmp_path / "error.json").read_text())
    assert content.pop("timestamp") > 0
    assert content == {"message": "labels.csv: no such file", "user_error": True}


def test_stages_that_train_or_answer_are_shared_and_all_others_run_here(environment, make_params, tmp_path):
    launched, here = [], []
    module = SimpleNamespace(run=lambda params, layout, **arguments: here.append((layout, arguments)))
    environment.setattr("pipeline.stages.run.torchrun", lambda *arguments: launched.append(arguments))
    environment.setattr("importlib.import_module", lambda name: module)
    layout, arguments = Layout(tmp_path), {"seed": 0, "pool": "full"}
    params = make_params(machine={"launcher": "torchrun", "processes": 2})
    for name in ("teacher", "soft_labels", "student", "evaluate", "prepare"):
        run_stage(name, params, layout, arguments)
    commands = [["teacher", "--seed=0", "--pool=full"], ["soft-labels", "--seed=0", "--pool=full"]]
    commands += [["student", "--seed=0", "--pool=full"]]
    assert launched == [(command, 2, layout.launch) for command in commands]
    assert here == [(layout, arguments)] * 2
    environment.setenv("TORCHELASTIC_RUN_ID", "1")  # one of the processes itself
    for name in SHARED:
        run_stage(name, params, layout, arguments)
    environment.delenv("TORCHELASTIC_RUN_ID")
    run_stage("teacher", make_params(), layout, arguments)
    assert (len(launched), len(here)) == (3, 6)
