"""Stages `teacher_full` and `teacher_subset`: train one teacher, plainly, on all data or on its subset."""

from models.architectures import Architecture
from models.classifier import save_weights
from pipeline import artifacts, tracking
from pipeline.artifacts import Pool
from pipeline.data.prepared import read_membership
from pipeline.distillation.objective import Supervised
from pipeline.files import atomic
from pipeline.params import Params
from pipeline.stages.fitting import decides, open_bench
from pipeline.training.resume import ResumeFolder


def run(params: Params, seed: int, pool: Pool, architecture: Architecture) -> None:
    """Write the teacher's weights after the last epoch and its history."""
    bench = open_bench(params, seed)
    data = bench.training_set(read_membership()[architecture] if pool == "subset" else None)
    teachers = params.teachers.model_dump(mode="json", include={"stem", "weights"})
    subsets = [artifacts.SUBSETS] if pool == "subset" else []
    folder = ResumeFolder(f"teacher_{pool}-{seed}-{architecture}", [decides(params, seed, *subsets), teachers])
    weights = artifacts.teacher_weights(seed, pool, architecture)
    history = artifacts.teacher_history(seed, pool, architecture)
    with tracking.live_run(params, tracking.teacher(params, seed, pool, architecture)) as live:
        fitted = bench.train(
            bench.network(architecture, params.teachers, f"teacher {architecture}"),
            data,
            Supervised(params.task, bench.balance(data)),
            title=f"teacher {architecture} ({pool}), seed {seed}",
            run=live,
            resume=folder.path / "training.pt",
        )
        with atomic(weights) as temporary:
            save_weights(fitted.last, temporary)
        fitted.history.write(history)
        live.finish(history)
    folder.remove()
