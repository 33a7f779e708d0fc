"""Stages `teacher_full` and `teacher_subset`: train the K teachers of one seed, on all data or each on its subset.

One process trains them all: starting one takes 15 s (torch, MLflow), more than a teacher of the default run does.
"""

from pathlib import Path

from models.classifier import save_weights
from models.names import Architecture
from pipeline import tracking
from pipeline.common import layout as artifacts
from pipeline.common.files import replace_folder
from pipeline.common.layout import Pool
from pipeline.data.prepared import read_membership
from pipeline.params.tree import Params
from pipeline.recipes.bench import Bench, decides, open_bench
from pipeline.recipes.listeners import listeners
from pipeline.recipes.resume_folder import ResumeFolder
from pipeline.recipes.teacher import train_teacher


def run(params: Params, seed: int, pool: Pool) -> None:
    """Write each teacher's weights after the last epoch and its history; they are put in place together."""
    bench = open_bench(params, seed)
    subsets = [artifacts.SUBSETS] if pool == "subset" else []
    decided_by = [decides(params, seed, *subsets), params.teachers.model_dump(mode="json")]
    folder = ResumeFolder(f"teacher_{pool}-{seed}", decided_by, clears=bench.world.leads)
    for architecture in params.teachers.architectures:
        if not (folder.path / pool / f"{architecture}.history.csv").exists():
            _train(bench, pool, architecture, folder.path)
    if bench.world.leads:
        replace_folder(folder.path / pool, artifacts.TEACHERS / str(seed) / pool)
        folder.remove()


def _train(bench: Bench, pool: Pool, architecture: Architecture, folder: Path) -> None:
    params = bench.params
    member = read_membership()[architecture] if pool == "subset" else None
    child = tracking.teacher(params, bench.seed, pool, architecture)
    with tracking.live_run(params, child, active=bench.world.leads) as live:
        resume = folder / f"{architecture}.pt"
        told = listeners(bench, f"teacher {architecture} ({pool}), seed {bench.seed}", live)
        fitted = train_teacher(bench, architecture, member, resume=resume, on_epoch=told)
        if bench.world.leads:
            (folder / pool).mkdir(exist_ok=True)
            save_weights(fitted.last, folder / pool / f"{architecture}.safetensors")
            history = folder / pool / f"{architecture}.history.csv"
            fitted.history.write(history)  # written last: it says that the teacher is finished
            resume.unlink(missing_ok=True)
            live.finish(history)
    bench.world.wait()
