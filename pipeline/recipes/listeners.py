"""What is called after each epoch of a stage's training: terminal, tracker, and a look at the parent processes."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline import tracking
from pipeline.common.layout import Layout
from pipeline.evaluation.metrics import primary_metric
from pipeline.params.tree import Params
from pipeline.recipes.store import Node, OnEpoch, Store
from pipeline.runtime.parents import ParentWatch
from pipeline.runtime.progress import Epochs


def train_tracked(
    store: Store, node: Node, params: Params, layout: Layout, child: tracking.Child, history: str
) -> None:
    """Make a node that trains a network, if it is missing: with progress, and logged live as the run `child`."""
    if store.has(node):
        return
    with tracking.live_run(params, layout, child, active=store.leads) as run:
        with _listener(params, node.title, run, store.leads) as on_epoch:
            store.get([node], on_epoch)
        if store.leads:
            run.finish(store.file(node, history))


@contextmanager
def _listener(params: Params, title: str, run: tracking.LiveRun, leads: bool) -> Iterator[OnEpoch]:
    parents, primary = ParentWatch(), primary_metric(params.task)
    with Epochs(title, params.training.epochs, primary) as progress:

        def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
            if leads:
                progress.report(epoch, metrics)
                run.log_epoch(epoch, metrics)
            parents.require_alive()

        yield on_epoch
