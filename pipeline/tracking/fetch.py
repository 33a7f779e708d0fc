"""Registered models by name, version and alias: what the store holds, and a version's files on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.common.errors import UserError, first_line
from pipeline.tracking.connection import connect, database_file, import_mlflow, plain_errors, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

REGISTERED = "models:/"


@dataclass(frozen=True)
class Fetched:
    """The files that a version was logged with, by name (`onnx`, `meta`, …); `title` is such as roskd-phantom/3."""

    title: str
    files: Mapping[str, Path]


def model_exists(model_uri: str) -> bool:
    """Whether the tracker holds a model under e.g. `models:/roskd-phantom@champion`; a folder may be named, too.

    A sqlite store that does not exist yet is not created. Raises UserError where the tracker cannot be reached.
    """
    if not _store_exists() and model_uri.startswith(("models:", "runs:")):
        return False
    connect()
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import get_model_info

    mlflow.set_tracking_uri(tracking_uri())
    try:
        get_model_info(model_uri)
    except (MlflowException, OSError):
        return False
    return True


def open_store() -> "MlflowClient":
    """Open the store; raises UserError where it does not answer, or is a sqlite file that does not exist yet."""
    import_mlflow()
    if not _store_exists():
        raise UserError(f"{tracking_uri()}: no such tracking store; run make repro first, which registers a model")
    return connect()


def require_model(client: "MlflowClient", name: str) -> None:
    """Raise UserError, which lists the models there are, unless the store holds the registered model `name`."""
    with plain_errors(tracking_uri()):
        models = [model.name for model in client.search_registered_models()]
    if name not in models:
        known = f"it holds {', '.join(models)}" if models else "it holds none"
        raise UserError(
            f"{tracking_uri()}: no registered model {name}; {known}. Run make repro first, which registers one, or "
            "name another"
        )


def find_version(client: "MlflowClient", name: str, which: str) -> str:
    """Return the version that a number or an alias names. Raises UserError, which lists what there is."""
    with plain_errors(tracking_uri()):
        versions = [str(one.version) for one in client.search_model_versions(f"name = '{name}'")]
        aliases = {alias: str(one) for alias, one in client.get_registered_model(name).aliases.items()}
    if (version := aliases.get(which, which)) not in versions:
        known = ", ".join([*sorted(versions, key=int), *sorted(aliases)]) or "none"
        raise UserError(f"registered model {name}: no version or alias {which!r}; known: {known}")
    return version


def fetch_model(model_uri: str, folder: Path) -> Fetched:
    """Copy a registered model's files into `folder`; an alias is resolved to the version that holds it now.

    `model_uri`: models:/NAME@ALIAS or models:/NAME/VERSION. Raises UserError where it names nothing.
    """
    path = model_uri.removeprefix(REGISTERED)
    name, _, which = path.rpartition("@" if "@" in path else "/")
    if not model_uri.startswith(REGISTERED) or not name or not which:
        raise UserError(
            f"{model_uri!r} names no registered model; write models:/NAME@ALIAS or models:/NAME/VERSION, such as "
            "models:/roskd-phantom@champion"
        )
    client = open_store()
    require_model(client, name)
    return download(name, find_version(client, name, which), folder)


def download(name: str, version: str, folder: Path) -> Fetched:
    """Copy the files of one version into `folder`. Raises UserError where they cannot be had."""
    import mlflow
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    mlflow.set_tracking_uri(tracking_uri())
    uri = f"{REGISTERED}{name}/{version}"
    try:
        copied = Path(download_artifacts(artifact_uri=uri, dst_path=str(folder)))
        flavor = Model.load(str(copied)).flavors.get("python_function", {})
    except (MlflowException, OSError) as error:
        raise UserError(f"{uri}: its files cannot be fetched from {tracking_uri()}: {first_line(error)}") from error
    return Fetched(
        f"{name}/{version}", {key: copied / entry["path"] for key, entry in flavor.get("artifacts", {}).items()}
    )


def _store_exists() -> bool:
    database = database_file(tracking_uri())
    return database is None or database.is_file()
