"""The tiny project, in a folder whose name has a space, run once through `dvc repro`."""

import pytest

from tests.e2e.project import Project, make_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[Project, str]:
    """The project after its first `dvc repro`, and what that printed."""
    project = make_project(tmp_path_factory.mktemp("e2e") / "my project")
    return project, project.repro()
