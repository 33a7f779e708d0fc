"""Dockerfile and compose.yaml: what is installed, that nobody is root, and that all that is named exists."""

import re

import mlflow.cli
import pytest
from ruamel.yaml import YAML

from tests.conftest import REPOSITORY
from tests.dockerfile import only, read_stages

STAGES = read_stages()
COMPOSE = YAML(typ="safe").load((REPOSITORY / "compose.yaml").read_text())
GPUS = YAML(typ="safe").load((REPOSITORY / "compose.gpu.yaml").read_text())
SERVICES = COMPOSE["services"]


def locked(name: str) -> set[str]:
    """The packages of a lock file as name==version, each with its marker."""
    return set(re.findall(r"^(\S+==\S+(?: ; .*?)?) \\$", (REPOSITORY / name).read_text(), flags=re.MULTILINE))


def names(packages: set[str]) -> set[str]:
    return {package.split("==")[0] for package in packages}


def test_what_serves_is_a_part_of_what_trains_at_the_same_versions():
    whole, part = locked("requirements.lock"), locked("requirements-serve.lock")
    versions = {package.split(" ; ")[0] for package in whole}
    assert {package.split(" ; ")[0] for package in part} <= versions
    assert {"mlflow", "onnxruntime-gpu", "pillow", "pydicom", "uvicorn"} <= names(part)
    assert {"torch", "torchvision", "timm", "dvc", "optuna", "pytest"} & names(part) == set()
    assert [name for name in names(part) if name.startswith(("nvidia-", "cuda-"))] == [], "the image brings them"
    assert {"torch", "nvidia-cudnn-cu13"} <= names(whole)


def test_both_images_are_of_one_base_with_cuda_and_cudnn():
    assert only(STAGES["base"], "FROM").text == "nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 AS base"
    assert {name: only(stage, "FROM").text for name, stage in STAGES.items() if name != "base"} == {
        "train": "base AS train",
        "serve": "base AS serve",
    }


@pytest.mark.parametrize(("stage", "lock"), [("train", "requirements.lock"), ("serve", "requirements-serve.lock")])
def test_an_image_installs_its_lock_with_hashes_and_runs_as_a_user(stage, lock):
    wanted = f"uv pip install --no-cache --require-hashes -r {lock}"
    assert only(STAGES[stage], "RUN").text == wanted
    order = [one.name for one in STAGES[stage]]
    assert order.index("COPY") < order.index("RUN") < order.index("USER") < order.index("CMD")
    assert only(STAGES[stage], "USER").text == "10001"
    assert "useradd --create-home --uid 10001 roskd" in only(STAGES["base"], "RUN").text


def test_both_images_use_the_uv_of_make_setup():
    version = re.search(r"UV_VERSION := (\S+)", (REPOSITORY / "Makefile").read_text())
    assert version is not None
    assert f"uv=={version[1]} " in only(STAGES["base"], "RUN").text


def test_copied_paths_exist_and_are_not_ignored():
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    for stage in STAGES.values():
        for one in (one for one in stage if one.name == "COPY"):
            *sources, _ = [word for word in one.words if not word.startswith("--")]
            assert all((REPOSITORY / source).exists() and source not in ignored for source in sources)
    assert {".git", ".venv", "artifacts", "mlflow.db*", ".env"} <= set(ignored)


def test_a_server_is_healthy_where_it_listens():
    command, health = only(STAGES["serve"], "CMD").words, only(STAGES["serve"], "HEALTHCHECK").text
    assert command[-4:] == ["--host", "0.0.0.0", "--port", "5000"]
    assert "http://127.0.0.1:5000/health" in health
    assert only(STAGES["serve"], "EXPOSE").text == "5000"


def test_services_build_targets_and_depend_on_services_that_exist():
    for name, service in SERVICES.items():
        if "build" in service:
            assert service["build"]["target"] in STAGES
        for needed in service.get("depends_on", {}):
            assert needed in SERVICES
            has_check = "healthcheck" in SERVICES[needed] or SERVICES[needed].get("image") == "ros-kd-serve"
            assert has_check, f"{name} waits for the health of {needed}, which has no check"
    assert set(GPUS["services"]) <= set(SERVICES)


def test_volumes_are_declared_and_mounted_where_the_image_has_their_folder():
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {source for source, *_ in mounts} == set(COMPOSE["volumes"])
    made = re.search(r"mkdir (.*?) &&", only(STAGES["base"], "RUN").text)
    assert made is not None
    folders = {f"/app/{name}" for name in made[1].split()}
    assert {target for _, target, *_ in mounts if target.startswith("/app")} == folders


def test_nothing_is_reached_from_other_machines_and_no_password_is_written_down():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") and port.endswith(":5000") for port in ports)
    text = (REPOSITORY / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(.*?)\}", text)) == {
        "ROSKD_DB_PASSWORD:?put it into .env",
        "ROSKD_MODEL:-models:/roskd-phantom@champion",
    }
    assert ".env" in (REPOSITORY / ".gitignore").read_text().split()


def test_the_tracker_is_told_in_mlflows_words_and_found_by_its_name():
    known = {option.envvar for option in mlflow.cli.server.params}
    environment = SERVICES["tracker"]["environment"]
    assert set(environment) <= known
    assert "@database:5432/mlflow" in environment["MLFLOW_BACKEND_STORE_URI"]
    assert environment["MLFLOW_BACKEND_STORE_URI"].startswith(
        f"postgresql://{SERVICES['database']['environment']['POSTGRES_USER']}:"
    )
    for name in ("model", "train"):
        uri = SERVICES[name]["environment"]["MLFLOW_TRACKING_URI"]
        assert uri == "http://tracker:5000"
        assert uri.removeprefix("http://") in environment["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
