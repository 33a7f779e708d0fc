"""Stages `student_plain`, `student_full` and `student_subset`: the students of one seed, by the teachers they need."""

from collections.abc import Sequence
from pathlib import Path

from models.classifier import load_weights, save_weights
from models.networks import build
from pipeline import tracking
from pipeline.common import layout as artifacts
from pipeline.common.files import replace_folder
from pipeline.common.layout import Pool
from pipeline.data.prepared import read_membership
from pipeline.distillation.methods import RUNS, STAGES, TITLES, teachers_of
from pipeline.distillation.objective import Teachers
from pipeline.distillation.online import OnlineTeachers
from pipeline.distillation.soft_labels import SoftLabels
from pipeline.params.tree import Params
from pipeline.recipes.bench import Bench, decides, open_bench
from pipeline.recipes.listeners import listeners
from pipeline.recipes.resume_folder import ResumeFolder
from pipeline.recipes.student import train_student
from pipeline.stages.soft_labels import origins
from pipeline.training.loop import Fitted


def run(params: Params, seed: int, stage: str) -> None:
    """Train the stage's students; their folders are put in place together once all are done."""
    bench = open_bench(params, seed)
    folder = ResumeFolder(f"{stage}-{seed}", _decides(params, seed, stage), clears=bench.world.leads)
    for name in STAGES[stage]:
        finished = folder.path / name
        if not finished.is_dir():
            _train(bench, name, folder.path)
    if bench.world.leads:
        for name in STAGES[stage]:
            replace_folder(folder.path / name, artifacts.student(seed, name))
        folder.remove()


def _decides(params: Params, seed: int, stage: str) -> list[object]:
    """What these students depend on; Baseline I knows neither teachers nor temperature."""
    common = [params.student.model_dump(mode="json"), params.smoothing.model_dump(mode="json")]
    pools = {RUNS[name].pool for name in STAGES[stage]} - {None}
    inputs = [artifacts.soft_labels(seed, pool, name) for pool in pools for name in params.teachers.architectures]  # type: ignore[arg-type]
    if "subset" in pools:
        inputs.append(artifacts.SUBSETS)
    distillation = params.distillation.model_dump(mode="json") if pools else None
    return [*common, distillation, decides(params, seed, *inputs)]


def _train(bench: Bench, name: str, folder: Path) -> None:
    params, seed, method = bench.params, bench.seed, RUNS[name]
    answers = _answers(bench, method.pool, teachers_of(method, params.teachers.architectures)) if method.pool else None
    members = read_membership() if method.unseen_only else {}
    with tracking.live_run(params, tracking.student(params, seed, name), active=bench.world.leads) as live:
        resume = folder / f"{name}.pt"
        told = listeners(bench, f"{TITLES[name]}, seed {seed}", live)
        fitted = train_student(bench, method, answers, members, resume=resume, on_epoch=told)
        if bench.world.leads:
            unfinished = folder / f".{name}"
            _write(fitted, unfinished)
            replace_folder(unfinished, folder / name)
            resume.unlink(missing_ok=True)
            live.finish(folder / name / "history.csv")
    bench.world.wait()


def _write(fitted: Fitted, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    assert fitted.smoothed is not None
    save_weights(fitted.last, folder / "last.safetensors")
    save_weights(fitted.selected, folder / "selected.safetensors")
    save_weights(fitted.smoothed, folder / "smoothed.safetensors")
    fitted.history.write(folder / "history.csv")


def _answers(bench: Bench, pool: Pool, names: Sequence[str]) -> Teachers:
    """The teachers' stored answers, or the teachers themselves."""
    params, seed = bench.params, bench.seed
    if params.distillation.soft_labels == "stored":
        paths = [artifacts.soft_labels(seed, pool, name) for name in names]
        return SoftLabels(paths, origins(params, seed, pool, bench.prepared, names), bench.device)
    classes = len(bench.prepared.classes)
    networks = [build(name, num_classes=classes, stem=params.teachers.stem) for name in names]
    for name, network in zip(names, networks, strict=True):
        load_weights(network, artifacts.teacher_weights(seed, pool, name))
    return OnlineTeachers([network.to(bench.device) for network in networks], classes)
