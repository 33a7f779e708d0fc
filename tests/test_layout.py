"""The rules of the house, read from the imports: one direction, libraries in their rooms, stages that fit together."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.common.layout import Layout
from pipeline.params.file import load, with_values
from pipeline.params.tree import of_images
from pipeline.recipes.code import file_of, imports
from pipeline.stages.all import calls
from pipeline.stages.code import FINGERPRINTED

SOURCES = sorted([*Path("models").rglob("*.py"), *Path("pipeline").rglob("*.py")])
GROUND = {"common", "params", "runtime", "evaluation", "report", "tracking"}
FLOORS = {"data": 1, "distillation": 2, "training": 3, "recipes": 4, "stages": 5, "study": 5, "predict": 5}
"""Higher floors may import lower ones; every other package of the pipeline is ground floor, 0."""
READERS = {
    "pipeline.distillation.methods", "pipeline.data.prepared", "pipeline.data.external_set",
    "pipeline.training.history",
}  # fmt: skip
"""What the ground floor may import from above: the table of methods, and the one reader of a file of artifacts/."""
MLFLOW_APPS = {Path("models/serving.py"), Path("pipeline/serving/app.py")}
"""The served model, which is MLflow's, and the server around MLflow's scoring app."""
STAGES = YAML(typ="safe").load(Path("dvc.yaml").read_text())["stages"]


def module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_dependencies_point_one_way(path):
    own = path.parts[1].removesuffix(".py") if path.parts[0] == "pipeline" else None
    for name in imports(module(path)):
        parts = name.split(".")
        assert not (own is None and parts[0] == "pipeline"), f"{path} imports {name}: models knows nothing of pipeline"
        if parts[0] != "pipeline" or len(parts) == 1 or own in (None, "__init__"):
            continue
        if own in GROUND and any(name == one or name.startswith(f"{one}.") for one in READERS):
            continue
        assert FLOORS.get(parts[1], 0) <= FLOORS.get(own, 0), f"{path} imports {name}, which is above it"


def test_no_stage_imports_another():
    stages = {f"pipeline.stages.{name}" for name in (*FINGERPRINTED, "check", "code", "track")}
    for name in stages:
        assert stages & imports(name) == set(), name


def test_no_import_goes_in_a_circle():
    edges = {
        module(path): {found for name in imports(module(path)) if (found := _module_of(name)) and found != module(path)}
        for path in SOURCES
    }
    while leaves := [name for name, needed in edges.items() if not needed & edges.keys()]:
        for name in leaves:
            del edges[name]
    assert edges == {}


def _module_of(name: str) -> str | None:
    """The module behind an imported name; a package's own file imports nothing but its parts."""
    path = file_of(name)
    return None if path is None or path.name == "__init__.py" else name


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("mlflow", lambda path: path.parts[1] == "tracking" or path in MLFLOW_APPS),
        ("optuna", lambda path: path.parts[1] == "study" or path.name == "study_plots.py"),
        ("matplotlib", lambda path: path.parts[1] == "report"),
        ("dvc", lambda path: False),
    ],
)
def test_a_library_is_imported_where_it_belongs(package, allowed):
    users = [path for path in SOURCES if any(name.split(".")[0] == package for name in imports(module(path)))]
    assert [path for path in users if not allowed(path)] == []
    assert users or package == "dvc"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_file_has_one_idea_and_no_path_of_artifacts(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    if path != Path("pipeline/common/layout.py"):
        code = re.sub(r'""".*?"""|#[^\n]*', "", text, flags=re.DOTALL)
        spelt = [line for line in code.splitlines() if re.search(r'Path\("artifacts|"artifacts/[a-z]+["/]', line)]
        assert spelt == [], "common.layout spells the paths of artifacts/"


def stage_modules() -> dict[str, str]:
    return {
        name: stage["cmd"].split("pipeline.stages ")[1].split()[0].replace("-", "_") for name, stage in STAGES.items()
    }


@pytest.mark.parametrize("name", [name for name in STAGES if name not in ("check", "code", "track")])
def test_a_stage_depends_on_the_fingerprint_of_its_own_code(name):
    code = [dep for dep in STAGES[name]["deps"] if dep.startswith("artifacts/code/")]
    assert code == [f"artifacts/code/{stage_modules()[name]}.txt"]
    assert stage_modules()[name] in FINGERPRINTED


def test_no_stage_names_a_module():
    deps = {dep for name, stage in STAGES.items() if name not in ("check", "code") for dep in stage["deps"]}
    assert [dep for dep in deps if dep.startswith(("models", "pipeline"))] == []
    assert {"models", "pipeline"} <= set(STAGES["code"]["deps"])
    assert len(Path("dvc.yaml").read_text().splitlines()) <= 240


@pytest.mark.parametrize("source", ["phantom", "isic2019", "chestxray14", "medmnist", "table"])
def test_images_are_prepared_again_when_a_parameter_changes_that_decides_them(source):
    task = "multilabel" if source == "chestxray14" else "multiclass"
    params = with_values(load(), {"data.source": source, "task": task, "noise.kind": "none"}, "test")
    covers = tuple(f"{name}." for name in STAGES["prepare"]["params"])
    assert [name for name in of_images(params) if not f"{name}.".startswith(covers)] == []


def test_stages_without_dvc_are_those_of_dvc_and_each_reads_what_an_earlier_one_wrote():
    assert list(dict.fromkeys(name for name, _, _ in calls(load()))) == list(STAGES)
    written: set[str] = set()
    for name, stage in STAGES.items():
        for dep in (dep for dep in stage["deps"] if dep.startswith("artifacts/")):
            assert any(out == dep or out.startswith(f"{dep}/") or dep.startswith(f"{out}/") for out in written), (
                f"{name} needs {dep}, which no earlier stage writes"
            )
        outs = [*stage.get("outs", []), *stage.get("metrics", [])]
        written |= {next(iter(out)) if isinstance(out, dict) else out for out in outs}


def test_what_dvc_keeps_is_where_the_layout_says():
    layout = Layout()
    kept = {out for stage in STAGES.values() for out in stage.get("outs", []) if isinstance(out, str)}
    kept = {out.replace("${item.seed}", "0").replace("${item.method}", "roskd") for out in kept}
    paths = {
        layout.code,
        layout.splits,
        layout.labels,
        layout.noise,
        layout.subsets,
        layout.features,
        layout.external,
        layout.audit,
        layout.shift(0, "roskd"),
        layout.onnx.parent,
    }
    paths |= {layout.images.parent, layout.report.parent, layout.student_metrics, layout.teacher_metrics}
    paths |= {layout.training_metrics, layout.comparisons, layout.intervals, layout.method_figures, layout.curves}
    paths.add(layout.corrections)
    paths |= {layout.predictions(0, "roskd", "smoothed").parents[1], layout.landscape(0, "roskd")}
    paths |= {layout.attacked(0, "roskd"), layout.robust_figures, layout.robust_comparisons, layout.trust_checks}
    paths.add(layout.robust_switches)
    for pool in ("full", "subset"):
        paths |= {layout.teachers(0, pool), layout.soft_labels(0, pool), layout.students(0, pool)}
    assert kept == {str(path) for path in {*paths, layout.students(0, None)}}
