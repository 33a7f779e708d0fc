"""A worker: takes trials out of the queue and trains their students until none is left."""

import os
import socket
import time
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from pipeline import tracking
from pipeline.common.errors import SettingError
from pipeline.common.seeds import derive
from pipeline.distillation.methods import ROSKD_RUN, TITLES
from pipeline.params.file import with_values
from pipeline.params.tree import Params
from pipeline.study.headline import headline, value_of
from pipeline.study.lab import Lab
from pipeline.study.plan import Plan, Unit, is_whole, told
from pipeline.study.queue import REASON, Queue
from pipeline.study.storage import open_storage

POLL = 2.0
"""Seconds between looks for a trial that another worker may give back."""
RUN_ID, SECONDS, FIGURES, WORKER = "mlflow_run_id", "seconds", "figures", "worker"
"""A trial's attributes: its run in MLflow, the time of its students, what they reached, and who trains them."""


class Worker:
    """Works on one study with one lab, one storage and one tracker."""

    def __init__(self, plan: Plan, params: Params, lab: Lab) -> None:
        self._plan, self._params, self._lab = plan, params, lab
        self._queue = Queue(plan, open_storage(params))
        self._run = tracking.study_run(params, plan.name, plan.key)

    def work(self) -> None:
        """Do what is in the queue; waits for the trials of other workers, which may die."""
        while True:
            for lost in self._queue.reclaim():
                self._run.lost(lost.user_attrs.get(RUN_ID, ""))
            with self._queue.take(lambda number: {"sampler": self._sampler(number), "pruner": self._pruner()}) as taken:
                if taken is not None:
                    self._do(*taken)
                    continue
            if not self._queue.is_busy():
                return
            time.sleep(POLL)

    def _do(self, study: optuna.Study, trial: Trial, number: int) -> None:
        """Do one unit; a failure of its own, such as a diverging loss, is noted and not tried again.

        Any other failure, such as a GPU that is not there, is the machine's: it ends this worker, not the unit.
        """
        unit = self._plan.units[number]
        values = unit.values if self._plan.is_grid else self._suggest(trial)
        title = f"{self._plan.name} {number}: {told(values)}" + ("" if unit.seed is None else f", seed {unit.seed}")
        with self._run.trial(trial.number, title, values | ({} if unit.seed is None else {"seed": unit.seed})) as run:
            trial.set_user_attr(RUN_ID, run.run_id)
            trial.set_user_attr(WORKER, f"{socket.gethostname()}, process {os.getpid()}")
            try:
                params = with_values(self._params, values, f"study {self._plan.name}")
                score = self._grid_unit(trial, unit, params) if self._plan.is_grid else self._search(trial, params, run)
            except optuna.TrialPruned:
                study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
                run.measured({}, "pruned")
                print(f"{title}: pruned", flush=True)
            except SettingError as error:
                trial.set_user_attr(REASON, str(error))
                study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
                run.measured({}, "failed")
                print(f"{title}: failed: {error}", flush=True)
            except optuna.exceptions.UpdateFinishedTrialError:
                run.measured({}, "lost")
                print(f"{title}: has another worker by now, since this one gave no sign of life", flush=True)
            else:
                study.tell(trial, score, skip_if_finished=True)
                run.measured(trial.user_attrs[FIGURES], "complete")
                print(f"{title}: validation {self._plan.metric} {score:.4f}", flush=True)

    def _suggest(self, trial: Trial) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, one in self._params.study.space.items():
            if one.choices is not None:
                values[name] = trial.suggest_categorical(name, one.choices)
                continue
            assert one.low is not None
            assert one.high is not None
            if is_whole(self._params, name, one):
                values[name] = trial.suggest_int(name, int(one.low), int(one.high), log=one.log)
            else:
                values[name] = trial.suggest_float(name, one.low, one.high, log=one.log)
        return values

    def _search(self, trial: Trial, params: Params, run: tracking.TrialRun) -> float:
        """Train RoS-KD's student with every seed; the mean of the smoothed students' validation is the objective.

        Pruning looks at the unsmoothed student, epoch by epoch; the seeds follow one another.
        """
        metric, epochs = self._plan.metric, params.training.epochs
        scores: list[float] = []
        figures: dict[str, float] = {}
        seconds = 0.0
        for place, seed in enumerate(params.seeds):

            def on_epoch(epoch: int, metrics: dict[str, float], place: int = place) -> None:
                step = place * epochs + epoch
                run.log_epoch(step, metrics)
                trial.report(metrics.get(f"val/{metric}", float("nan")), step)
                if trial.should_prune():
                    raise optuna.TrialPruned

            outcome = self._lab.student(params, seed, ROSKD_RUN, on_epoch)
            scores.append(value_of(outcome, metric))
            seconds += outcome.seconds
            for name, value in headline(outcome, "smoothed").items():
                figures[name] = figures.get(name, 0.0) + value / len(params.seeds)
        trial.set_user_attr(SECONDS, seconds)
        trial.set_user_attr(FIGURES, figures)
        return sum(scores) / len(scores)

    def _grid_unit(self, trial: Trial, unit: Unit, params: Params) -> float:
        """Train the students of every method of one cell and seed; the value is that of the first method."""
        assert unit.seed is not None
        figures: dict[str, float] = {}
        seconds, scores = 0.0, []
        for run in self._plan.runs:
            outcome = self._lab.student(params, unit.seed, run)
            scores.append(value_of(outcome, self._plan.metric))
            seconds += outcome.seconds
            print(f"  {TITLES.get(run, run)}, seed {unit.seed}: {scores[-1]:.4f}", flush=True)
            for checkpoint in ("last", "smoothed"):
                found = headline(outcome, checkpoint)
                figures |= {f"{name}/{run}/{checkpoint}": value for name, value in found.items()}
        trial.set_user_attr(SECONDS, seconds)
        trial.set_user_attr(FIGURES, figures)
        return scores[0]

    def _sampler(self, number: int) -> BaseSampler:
        """A sampler whose draws depend on the seed, the trial and the trials before it: a second run repeats them."""
        study = self._params.study
        seed = derive(study.seed, f"trial {number}") % 2**32
        if study.sampler == "random":
            return RandomSampler(seed=seed)
        if study.sampler == "qmc":
            return QMCSampler(seed=study.seed)
        return TPESampler(seed=seed, n_startup_trials=min(10, max(1, study.trials // 2)), constant_liar=True)

    def _pruner(self) -> BasePruner:
        epochs = self._params.training.epochs
        return {
            "none": NopPruner(),
            "hyperband": HyperbandPruner(max_resource=epochs * len(self._params.seeds)),
            "median": MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 3),
        }[self._params.study.pruner]
