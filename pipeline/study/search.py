"""A search: Optuna proposes settings, each trial trains RoS-KD's student with one of them, until enough are done."""

import os
import socket
import time
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from pipeline import tracking
from pipeline.common.errors import SettingError
from pipeline.common.seeds import derive
from pipeline.distillation.methods import METHODS, SUBJECT
from pipeline.params.file import with_values
from pipeline.params.tree import Params
from pipeline.recipes.store import TrainingAbandonedError
from pipeline.study.plan import Plan, described, is_whole
from pipeline.study.students import Students
from pipeline.study.trials import REASON, WORKER, Trials

POLL = 2.0
"""Seconds between looks for a trial that another worker may lose."""
RUN_ID, SECONDS, FIGURES = "mlflow_run_id", "seconds", "figures"
"""A trial's attributes: its run in MLflow, the time of its students, and what they reached."""


class SurplusTrialError(Exception):
    """This trial is one more than were asked for; another worker has the last one."""


class Searcher:
    """One worker of a search."""

    def __init__(self, plan: Plan, params: Params, students: Students, trials: Trials, run: tracking.StudyRun) -> None:
        self._plan, self._params, self._students, self._trials, self._run = plan, params, students, trials, run
        self._number = 0

    def work(self) -> None:
        """Do trials until enough are over; waits for those of other workers, which may die."""
        while self._trials.left() > 0:
            for lost in self._trials.reclaim():
                self._run.lost(lost.user_attrs.get(RUN_ID, ""))
            counted = self._trials.counted()
            if len(counted) >= len(self._plan.units):
                time.sleep(POLL)
                continue
            self._do_one(self._trials.study(sampler=self._sampler(len(counted)), pruner=self._pruner()))

    def _do_one(self, study: optuna.Study) -> None:
        self._number = -1
        try:
            study.optimize(self._objective, n_trials=1, catch=(SettingError, SurplusTrialError))
        except optuna.exceptions.UpdateFinishedTrialError:
            print(f"{self._plan.name}: a trial of this worker was given to another, since it gave no sign of life")
        except BaseException:
            if self._number >= 0:
                self._trials.give_back(self._number)
            raise

    def _objective(self, trial: Trial) -> float:
        """Train one setting's students; a failure of the setting, such as a diverging loss, is noted and not repeated.

        Any other failure, such as a GPU that is not there, is the machine's: it ends this worker, not the trial.
        """
        self._number = trial.number
        trial.set_user_attr(WORKER, f"{socket.gethostname()}, process {os.getpid()}")
        if self._trials.is_surplus(trial.number):
            raise SurplusTrialError
        values = self._suggest(trial)
        title = f"{self._plan.name} {trial.number}: {described(values)}"
        with self._run.trial(trial.number, title, values) as run:
            trial.set_user_attr(RUN_ID, run.run_id)
            try:
                params = with_values(self._params, values, f"study {self._plan.name}")
                score = self._train(trial, params, run)
            except optuna.TrialPruned:
                run.measured({}, "pruned")
                print(f"{title}: pruned", flush=True)
                raise
            except SettingError as error:
                trial.set_user_attr(REASON, str(error))
                run.measured({}, "failed")
                print(f"{title}: failed: {error}", flush=True)
                raise
            run.measured(trial.user_attrs[FIGURES], "complete")
            print(f"{title}: validation {self._plan.metric} {score:.4f}", flush=True)
            return score

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

    def _train(self, trial: Trial, params: Params, run: tracking.TrialRun) -> float:
        """Train RoS-KD's student with every seed; the mean of the smoothed students' validation is the objective.

        Pruning looks at the unsmoothed student, epoch by epoch; the seeds follow one another.
        """
        metric, epochs, method = self._plan.metric, params.training.epochs, METHODS[SUBJECT]
        scores: list[float] = []
        figures: dict[str, float] = {}
        seconds = 0.0
        for place, seed in enumerate(params.seeds):

            def on_epoch(epoch: int, metrics: dict[str, float], place: int = place) -> None:
                step = place * epochs + epoch
                run.log_epoch(step, metrics)
                trial.report(metrics.get(f"val/{metric}", float("nan")), step)
                if trial.should_prune():
                    raise TrainingAbandonedError

            try:
                outcome = self._students.train(params, seed, method.run, on_epoch)
            except TrainingAbandonedError:
                raise optuna.TrialPruned from None
            scores.append(outcome.value(metric, method.checkpoint))
            seconds += outcome.seconds
            for name, value in outcome.headline(method.checkpoint).items():
                figures[name] = figures.get(name, 0.0) + value / len(params.seeds)
        trial.set_user_attr(SECONDS, seconds)
        trial.set_user_attr(FIGURES, figures)
        return sum(scores) / len(scores)

    def _sampler(self, number: int) -> BaseSampler:
        """A sampler whose draws depend on the seed and the trials before it: a second run repeats them."""
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
