"""A copy of the project with a tiny phantom, to run whole pipelines in."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIVE = "[resnet18, resnet34, resnet50, mobilenet_v2, densenet121]"
TINY = {
    "images: 2000": "images: 160",
    "image_size: 64 ": "image_size: 32 ",
    "epochs: 24 ": "epochs: 2 ",
    "images: 64                   # test images that the loss": "images: 16 # test images that the loss",
    "images: 64                 # test images that are attacked": "images: 8 # test images that are attacked",
    "  grid: 11 ": "  grid: 3 ",
    "    draws: 30 ": "    draws: 3 ",
    "queries: 200": "queries: 10",
    "severities: [1, 3, 5] ": "severities: [3] ",
    f"  architectures: {FIVE}": "  architectures: [resnet18, mobilenet_v2]",
}


REPLACED = {".npy", ".npz", ".safetensors", ".csv", ".json", ".png", ".html", ".onnx", ".txt"}
"""What stages write under another name first, so that a link to an earlier one keeps its content."""


@dataclass(frozen=True)
class Project:
    """A copy of the project that commands run in."""

    path: Path

    def run(self, *command: str, ok: bool = True, **env: str) -> str:
        """Run a command and return what it printed; asserts that it ends well (or badly, with ok=False)."""
        done = subprocess.run(
            command, cwd=self.path, env=environment() | env, capture_output=True, text=True, timeout=1500, check=False
        )
        printed = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, printed
        return printed

    def repro(self, *arguments: str, ok: bool = True) -> str:
        """Run `dvc repro`."""
        return self.run(sys.executable, "-m", "dvc", "repro", *arguments, ok=ok)

    def change(self, old: str, new: str, file: str = "params.yaml") -> None:
        """Replace text that occurs once."""
        path = self.path / file
        text = path.read_text()
        assert text.count(old) == 1, (old, text.count(old))
        path.write_text(text.replace(old, new))

    def copy(self, target: Path) -> "Project":
        """A second project with the same artefacts and cache; what is never written to takes no more room."""
        shutil.copytree(self.path, target, symlinks=True, copy_function=_share)
        return Project(target)


def _share(source: str, target: str) -> None:
    """Link what is replaced and never written to: the outputs below artifacts/, and DVC's cache. Copy all else."""
    path = Path(source)
    if (".dvc" in path.parts and "cache" in path.parts) or ("artifacts" in path.parts and path.suffix in REPLACED):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def environment() -> dict[str, str]:
    """The environment of a user's shell with the virtual environment active and no tracker set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


def ran(printed: str) -> set[str]:
    """The stages that DVC ran, by name."""
    return set(re.findall(r"Running stage '([^']+)'", printed))


def make_project(path: Path) -> Project:
    """Copy what git knows or would take, shrink the phantom, and make a repository of it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in listed.splitlines():
        source = ROOT / name
        if source.is_file() and name != "dvc.lock":
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path / name)
    project = Project(path)
    for old, new in TINY.items():
        project.change(old, new)
    for command in (["init", "-q"], ["add", "-A"]):
        project.run("git", *command)
    project.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "copy")
    return project
