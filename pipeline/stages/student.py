"""Stages `student_plain`, `student_full` and `student_subset`: the students of one seed, by the teachers they need."""

from collections.abc import Sequence
from pathlib import Path

import torch

from models.classifier import Classifier, load_weights, save_weights
from models.registry import build
from pipeline import artifacts, tracking
from pipeline.artifacts import Pool
from pipeline.data.prepared import read_membership
from pipeline.distillation.methods import RUNS, STAGES, TITLES, Method, teachers_of
from pipeline.distillation.objective import (
    Distillation,
    DistillationTerms,
    Objective,
    ReinforcedDistillation,
    Supervised,
    Teachers,
)
from pipeline.distillation.online import OnlineTeachers
from pipeline.distillation.reinforced import SelectionPolicy
from pipeline.distillation.soft_labels import SoftLabels
from pipeline.distillation.weighting import StochasticWeights
from pipeline.files import replace_folder
from pipeline.params import Params
from pipeline.resume_folder import ResumeFolder
from pipeline.stages.fitting import Bench, decides, open_bench
from pipeline.stages.soft_labels import origins
from pipeline.training.loop import Fitted, TrainingSet


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
    params, seed = bench.params, bench.seed
    data = bench.training_set()
    # all students of a seed start from the same weights and see the same batches: their comparison is paired
    model = bench.network(params.student.architecture, params.student, "student")
    with tracking.live_run(params, tracking.student(params, seed, name), active=bench.world.leads) as live:
        resume = folder / f"{name}.pt"
        fitted = bench.train(
            model,
            data,
            _objective(bench, RUNS[name], model, data),
            title=f"{TITLES[name]}, seed {seed}",
            run=live,
            resume=resume,
            warmup=params.smoothing.warmup,
        )
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


def _objective(bench: Bench, method: Method, model: Classifier, data: TrainingSet) -> Objective:
    """The loss of one method."""
    params, device, N = bench.params, bench.device, len(data.rows)
    balance = bench.balance(data)
    if method.pool is None:
        return Supervised(params.task, balance)
    teachers = teachers_of(method, params.teachers.architectures)
    answers = _answers(bench, method.pool, teachers)
    terms = DistillationTerms(params.task, balance, answers, params.distillation.tau, params.distillation.alpha)
    if method.weighting == "reinforced":
        size = model.num_features + len(bench.prepared.classes) + 2
        policy = SelectionPolicy(
            len(teachers), size, N, bench.seed, params.distillation.policy_lr, device, bench.world.total
        )
        return ReinforcedDistillation(terms, policy)
    stochastic = None
    if method.weighting == "stochastic":
        stochastic = StochasticWeights(len(teachers), N, bench.seed, params.distillation.weighting)
    unseen = _unseen(teachers, device) if method.unseen_only else None
    return Distillation(terms, stochastic, unseen)


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


def _unseen(teachers: tuple[str, ...], device: torch.device) -> torch.Tensor:
    """Which training samples each teacher never saw, bool (K, N)."""
    members = read_membership()
    return torch.stack([torch.from_numpy(~members[name]) for name in teachers]).to(device)
