"""A `dvc repro` seen from outside: its stages, the names that appear, and when a strike is due."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from tests.e2e.project import Project, environment

Kind = Literal["kill", "interrupt", "disk"]
REPRO = (sys.executable, "-m", "dvc", "repro")
POLL = 0.01
PATIENCE = 60.0
"""Seconds after which a strike no longer waits for its moment."""
NAMES = ("data", "splits/*", "code", "teachers/*/*", "soft_labels/*/*", "students/*/*", "predictions", "metrics/*",
         "report/*", "onnx", "store/*/*")  # fmt: skip
"""What takes its name once it is whole."""


@dataclass(frozen=True)
class Strike:
    """One attack: what is done to whom, and when.

    `offset`: seconds from the start (clock), around a name, or after the end of a stage (record). `at_once`: the next
    run begins though a process of this one may be alive. `free`: bytes that are left on the disk.
    """

    kind: Kind
    victim: Literal["stage", "dvc", "all"]
    moment: Literal["clock", "name", "record"]
    offset: float
    at_once: bool
    free: int


@dataclass
class Timeline:
    """When names appeared in an unbroken run: seconds after the start of the stage that makes them, in order."""

    after: dict[str, float] = field(default_factory=dict)

    def next_missing(self, there: set[str]) -> float | None:
        """The time of the first name that is not there yet."""
        return next((seconds for name, seconds in self.after.items() if name not in there), None)


class Run:
    """A running `dvc repro` and what can be seen of it from outside."""

    def __init__(self, project: Project, log: Path) -> None:
        self._artifacts = project.path / "artifacts"
        self.log = log
        with log.open("w") as stream:
            self.process = psutil.Popen(
                REPRO, cwd=project.path, env=environment() | {"OMP_NUM_THREADS": "1"}, stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip
        self.began = time.monotonic()

    def lives(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def names(self) -> set[str]:
        """What has its final name by now."""
        root = self._artifacts
        return {
            str(path.relative_to(root))
            for pattern in NAMES
            for path in root.glob(pattern)
            if not path.name.startswith(".") and path.name != "compared.json"
        }

    def stage(self) -> psutil.Process | None:
        """The process of the stage that runs."""
        with suppress(psutil.Error):
            return next(
                (one for one in self.process.children(recursive=True) if "pipeline.stages" in one.cmdline()), None
            )
        return None

    def record(self) -> Timeline:
        """Watch it to its end; returns when each name appeared."""
        timeline, known, started, current = Timeline(), self.names(), self.began, None
        while self.lives():
            stage = self.stage()
            if stage is not None and stage != current:
                current, started = stage, time.monotonic()
            for name in sorted(self.names() - known):
                known.add(name)
                timeline.after[name] = time.monotonic() - started
            time.sleep(POLL)
        return timeline

    def wait_for(self, strike: Strike, timeline: Timeline) -> bool:
        """Wait for the strike's moment; returns False if the run ended before."""
        moments: dict[str, Callable[[], float | None]] = {
            "clock": lambda: self.began,
            "name": self._name_watch(strike, timeline),
            "record": self._end_of_stage(),
        }
        moment = moments[strike.moment]
        while self.lives():
            base = moment() if time.monotonic() < self.began + PATIENCE else self.began
            if base is not None and time.monotonic() >= base + strike.offset:
                return True
            time.sleep(POLL)
        return False

    def _name_watch(self, strike: Strike, timeline: Timeline) -> Callable[[], float | None]:
        """The moment at which the next name appears; until then, its moment in an unbroken run."""
        before = self.names()
        expected, started, seen = timeline.next_missing(before), None, None

        def moment() -> float | None:
            nonlocal started, seen
            if seen is None and self.names() - before:
                seen = time.monotonic()
            if started is None and self.stage() is not None:
                started = time.monotonic()
            foreseen = None if started is None or expected is None or strike.offset > 0 else started + expected
            return seen if seen is not None else foreseen

        return moment

    def _end_of_stage(self) -> Callable[[], float | None]:
        """The moment at which the process of a stage, other than the quick `check`, ends."""
        stage, ended = None, None

        def moment() -> float | None:
            nonlocal stage, ended
            if stage is None:
                stage = self.stage()
                if stage is not None and "check" in stage.cmdline():
                    stage = None
            elif ended is None and not stage.is_running():
                ended = time.monotonic()
            return ended

        return moment

    def family(self) -> list[psutil.Process]:
        """DVC's process and all below it."""
        with suppress(psutil.Error):
            return [self.process, *self.process.children(recursive=True)]
        return []
