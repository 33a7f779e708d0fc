"""The rules of the house, read from the imports: one direction, libraries where they belong, complete stage deps."""

import ast
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

SOURCES = sorted([*Path("models").rglob("*.py"), *Path("pipeline").rglob("*.py")])
GROUND = {"common", "params", "runtime", "evaluation", "report", "tracking"}
FLOORS = {"data": 1, "distillation": 2, "training": 3, "recipes": 4, "stages": 5, "study": 5}
"""Higher floors may import lower ones; every other module of the pipeline is ground floor, 0."""
PLUMBING = {
    "models/names.py", "models/errors.py", "pipeline/common/layout.py",
    "pipeline/common/errors.py", "pipeline/common/files.py",
    "pipeline/params/tree.py", "pipeline/params/base.py", "pipeline/params/file.py", "pipeline/params/study.py",
    "pipeline/runtime/parents.py", "pipeline/recipes/listeners.py",
    "pipeline/runtime/launch.py", "pipeline/runtime/progress.py",
}  # fmt: skip
"""Code that a stage runs but that cannot change its result; dvc.yaml leaves it out on purpose."""


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, also inside functions, as dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def module_file(name: str) -> Path | None:
    """The file of one of the project's modules, or None."""
    base = Path(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def closure(path: Path) -> set[Path]:
    """The project's files that `path` needs, through any number of imports; tracking only looks on."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in seen or "tracking" in current.parts:
            continue
        seen.add(current)
        waiting += [found for name in imports(current) if (found := module_file(name)) is not None]
    return seen


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_dependencies_point_one_way(path):
    own = path.parts[1].removesuffix(".py") if path.parts[0] == "pipeline" else None
    for name in imports(path):
        parts = name.split(".")
        assert not (own is None and parts[0] == "pipeline"), f"{path} imports {name}: models knows nothing of pipeline"
        if parts[0] != "pipeline" or len(parts) == 1 or own is None:
            continue
        if own == "tracking" or (parts[1] in GROUND and own in GROUND):
            continue
        if own in GROUND and name.startswith("pipeline.distillation.methods"):
            continue  # the table of methods is names and titles alone
        assert FLOORS.get(parts[1], 0) <= FLOORS.get(own, 0), f"{path} imports {name}, which lies above it"


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("mlflow", lambda path: path.parts[1] == "tracking" or path == Path("models/serving.py")),
        ("optuna", lambda path: path.parts[1] == "study" or path.name == "study_plots.py"),
        ("matplotlib", lambda path: path.parts[1] == "report"),
        ("dvc", lambda path: False),
    ],
)
def test_a_library_is_imported_where_it_belongs(package, allowed):
    users = [path for path in SOURCES if any(name.split(".")[0] == package for name in imports(path))]
    assert [path for path in users if not allowed(path)] == []


def stage_modules() -> list[tuple[str, Path, list[str]]]:
    stages = YAML(typ="safe").load(Path("dvc.yaml").read_text())["stages"]
    found = []
    for name, stage in stages.items():
        command = stage["cmd"].split("pipeline.stages ")[1].split()[0].replace("-", "_")
        found.append((name, Path(f"pipeline/stages/{command}.py"), stage["deps"]))
    return found


@pytest.mark.parametrize(("name", "module", "deps"), stage_modules(), ids=[name for name, _, _ in stage_modules()])
def test_a_stage_depends_on_the_code_that_decides_its_result(name, module, deps):
    if name in ("check", "track"):
        return  # check writes a constant file; track always runs
    code = {str(path) for path in closure(module) if path.name != "__init__.py" and str(path) not in PLUMBING}
    listed = [dep for dep in deps if dep.startswith(("models", "pipeline"))]
    covered = {path for path in code if any(path == dep or path.startswith(f"{dep}/") for dep in listed)}
    assert code - covered == set(), f"stage {name} lacks deps"
    idle = [dep for dep in listed if not any(path == dep or path.startswith(f"{dep}/") for path in code)]
    assert idle == [], f"stage {name} lists deps it does not use"


@pytest.mark.parametrize("source", ["phantom", "isic2019", "chestxray14", "medmnist", "table"])
def test_images_are_prepared_anew_when_a_parameter_changes_that_decides_them(source):
    from pipeline.params.file import load, with_values
    from pipeline.params.tree import of_images

    task = "multilabel" if source == "chestxray14" else "multiclass"
    params = with_values(load(), {"data.source": source, "task": task, "noise.kind": "none"}, "test")
    listed = YAML(typ="safe").load(Path("dvc.yaml").read_text())["stages"]["prepare"]["params"]
    covers = tuple(f"{name}." for name in listed)
    assert [name for name in of_images(params) if not f"{name}.".startswith(covers)] == []


def test_a_study_makes_networks_anew_when_code_changes_that_decides_them():
    from pipeline.study.lab import CODE

    made_by = [Path(f"pipeline/recipes/{name}.py") for name in ("bench", "student", "teacher")]
    made_by.append(Path("pipeline/distillation/soft_labels.py"))
    code = {str(path) for module in made_by for path in closure(module) if path.name != "__init__.py"} - PLUMBING
    assert sorted(CODE) == sorted(code)


def test_stages_without_dvc_are_those_of_dvc():
    from pipeline.params.file import load
    from pipeline.stages.all import calls

    stages = YAML(typ="safe").load(Path("dvc.yaml").read_text())["stages"]
    assert list(dict.fromkeys(name for name, _, _ in calls(load()))) == list(stages)
    written: set[str] = set()
    for name, stage in stages.items():
        made = [dep.replace("seeds[0]", "item.seed") for dep in stage["deps"] if dep.startswith("artifacts/")]
        for dep in made:
            assert any(out == dep or out.startswith(f"{dep}/") or dep.startswith(f"{out}/") for out in written), (
                f"{name} needs {dep}, which no earlier stage writes"
            )
        written |= {next(iter(out)) if isinstance(out, dict) else out for out in stage.get("outs", [])}
