"""Who is told of a stage's epochs: the terminal, the tracker, and the stage itself, which ends with its parents."""

from pipeline import tracking
from pipeline.evaluation.metrics import primary_metric
from pipeline.recipes.bench import Bench, OnEpoch
from pipeline.runtime.parents import ParentWatch
from pipeline.runtime.progress import Progress


def listeners(bench: Bench, title: str, run: tracking.LiveRun) -> OnEpoch:
    """Return what is called after each epoch of the training `title`."""
    progress = Progress(title, bench.params.training.epochs, primary_metric(bench.prepared.task))
    parents = ParentWatch()

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        if bench.world.leads:
            progress.on_epoch(epoch, metrics)
            run.log_epoch(epoch, metrics)
        parents.require_alive()

    return on_epoch
