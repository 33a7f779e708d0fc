"""From a study back to the experiment: its best parameters become those of params.yaml."""

from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.common.layout import Layout
from pipeline.data.variants import Variants
from pipeline.params.file import PARAMS_FILE
from pipeline.params.overlay import changes, overlaid
from pipeline.params.tree import Params
from pipeline.study.found import best_trial
from pipeline.study.plan import make_plan
from pipeline.study.trials import Trials, open_storage


def apply_best(params: Params, layout: Layout, name: str) -> None:
    """Write the best trial's values into params.yaml and say what changed; raises UserError for a grid."""
    plan = make_plan(name, params, Variants(layout, params).digest)
    if plan.is_grid:
        raise UserError(f"study {name} is a grid: it compares settings and chooses none; name a search")
    trials = Trials(plan, open_storage(params, layout))
    best = best_trial(trials, plan)
    text, after = overlaid(PARAMS_FILE, _nested(best.params), f"study {name}")
    changed = changes(params, after)
    if left := trials.left():
        print(f"study {name}: {left} of {len(plan.units)} trials are left; what follows is the best so far")
    value = f"trial {best.number} of study {name}, validation {plan.metric} {best.value:.4f}"
    if not changed:
        print(f"{PARAMS_FILE} holds the parameters of {value} already")
        return
    write_text(PARAMS_FILE, text)
    print("\n".join([f"{PARAMS_FILE}: set to {value}:", *changed, "`dvc repro` continues from there"]))


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *sections, leaf = name.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    return tree
