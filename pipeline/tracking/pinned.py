"""A registered model by its version: an alias may point to another one a moment later."""

from pipeline.tracking.connection import connect, plain_errors, tracking_uri

REGISTERED = "models:/"


def pinned(model_uri: str) -> str:
    """Return `models:/name/version` for `models:/name@alias`, and every other address as it is.

    Raises UserError where the tracker has no such alias or cannot be reached.
    """
    name, at, alias = model_uri.removeprefix(REGISTERED).rpartition("@")
    if not (model_uri.startswith(REGISTERED) and at):
        return model_uri
    connect()
    from mlflow import MlflowClient

    with plain_errors(tracking_uri()):
        version = MlflowClient(tracking_uri()).get_model_version_by_alias(name, alias).version
    return f"{REGISTERED}{name}/{version}"
