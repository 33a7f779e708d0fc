"""A grid is a set of students: a worker makes whichever can be made and nobody is making, until all are there."""

import json
import time
from typing import Any

from pipeline.common.errors import SettingError
from pipeline.common.files import locked, write_json
from pipeline.common.layout import Layout
from pipeline.params.file import with_values
from pipeline.params.tree import Params
from pipeline.study.plan import Plan, Unit, described
from pipeline.study.students import Outcome, Students

POLL = 1.0
"""Seconds between looks for what other workers make."""
FAILED = "failed.json"


class Grid:
    """The cells of one grid, each with every seed: what is finished, what cannot be done, and what is left."""

    def __init__(self, plan: Plan, params: Params, layout: Layout, students: Students) -> None:
        self._plan, self._students = plan, students
        self._failed_file = layout.study(plan.name) / FAILED
        self._params = [with_values(params, unit.values, f"study {plan.name}") for unit in plan.units]
        self._finished: set[int] = set()

    def work(self) -> None:
        """Make every student of the grid that can be made; waits for those of other workers, which may die.

        A failure of the setting's, such as a diverging loss, is noted and not tried again; any other, such as a GPU
        that is not there, is the machine's and ends this worker alone.
        """
        while left := self.left():
            progressed = False
            for number in left:
                progressed |= self._advance(number)
            if not progressed:
                time.sleep(POLL)

    def left(self) -> list[int]:
        """The units that are neither finished nor failed, by number."""
        failed = self.failed()
        return [
            number
            for number, unit in enumerate(self._plan.units)
            if _key(unit) not in failed and not self.is_finished(number)
        ]

    def is_finished(self, number: int) -> bool:
        """Whether every student of a unit is in the store."""
        if number not in self._finished and all(outcome is not None for outcome in self.outcomes(number).values()):
            self._finished.add(number)
        return number in self._finished

    def outcomes(self, number: int) -> dict[str, Outcome | None]:
        """What each training run of a unit reached, None where it is not in the store."""
        params, seed = self._params[number], self._seed(number)
        return {run: self._students.find(params, seed, run) for run in self._plan.runs}

    def failed(self) -> dict[str, str]:
        """Why units cannot be done, by what they set."""
        path = self._failed_file
        return json.loads(path.read_text(encoding="utf-8"))["failed"] if self._belongs(path) else {}

    def reason(self, unit: Unit) -> str | None:
        """Why a unit cannot be done; None where it can."""
        return self.failed().get(_key(unit))

    def forget_failures(self) -> None:
        """Let what failed be tried again."""
        self._failed_file.unlink(missing_ok=True)

    def _advance(self, number: int) -> bool:
        """Make what a unit lacks, as far as nobody else is making it; returns whether this unit is over now."""
        unit, params = self._plan.units[number], self._params[number]
        title = f"{self._plan.name}: {described(unit.values)}, seed {unit.seed}"
        there = []
        try:
            for run in self._plan.runs:
                was_there = self._students.find(params, self._seed(number), run) is not None
                there.append(was_there or self._students.begin(params, self._seed(number), run))
                if there[-1] and not was_there:
                    self._report(title, number, run)
        except SettingError as error:
            self._note(unit, str(error))
            print(f"{title}: failed: {error}", flush=True)
            return True
        return all(there)

    def _report(self, title: str, number: int, run: str) -> None:
        """Print what a new student reached; raises SettingError where the study's metric is not defined for it."""
        found = self._students.find(self._params[number], self._seed(number), run)
        if found is not None:
            value = found.value(self._plan.metric, "smoothed")
            print(f"{title}: {run}, validation {self._plan.metric} {value:.4f}", flush=True)

    def _note(self, unit: Unit, reason: str) -> None:
        path = self._failed_file
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            write_json(path, {"study": self._plan.key, "failed": self.failed() | {_key(unit): reason}})

    def _belongs(self, path: Any) -> bool:
        """Whether the file of failures is there and of this very grid: with other values or data it is another one."""
        return path.exists() and json.loads(path.read_text(encoding="utf-8")).get("study") == self._plan.key

    def _seed(self, number: int) -> int:
        seed = self._plan.units[number].seed
        assert seed is not None
        return seed


def _key(unit: Unit) -> str:
    return f"{described(unit.values)}, seed {unit.seed}"
