"""The end of a study: its tables, pictures and page, in the terminal and in the tracker."""

from pipeline.params import Params
from pipeline.study import search
from pipeline.study.grids import tables_of, write_tables
from pipeline.study.lab import Lab
from pipeline.study.plan import make_plan
from pipeline.study.queue import Queue
from pipeline.study.storage import open_storage


def finish(params: Params, name: str, wall: float | None, workers: int) -> None:
    """Write everything that a study shows; `wall`: seconds of the whole study by the clock, if it ran in one go.

    Raises UserError where no trial is complete.
    """
    lab = Lab(params)
    plan = make_plan(name, params, lab.data.digest)
    queue = Queue(plan, open_storage(params))
    folder = tables_of(plan)
    if plan.is_grid:
        write_tables(plan, params, lab, folder)
        return
    best = search.best_trial(queue, plan)
    table = search.write_trials(queue, folder / search.TRIALS)
    rows = search.contenders(plan, params, lab, best)
    states = table["state"].value_counts()
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    print(f"\nstudy {name}: {len(table)} trials ({told}); best by validation {plan.metric}: {search.told_values(best)}")
    print(search.comparison(rows, plan.metric))
    if wall is not None:
        print(search.price(plan, params, lab, queue, wall, workers))
