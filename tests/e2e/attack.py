"""Kill, interrupt and starve pipelines: `python -m tests.e2e.attack`, which takes about an hour on two cores.

Each pipeline is attacked until all its stages have run: `dvc repro` is struck at a moment drawn from a seed, and begun
again. In the end every file of artifacts/ must have the bytes of an unbroken run, and no training that had finished
may have run a second time. A third of the moments are drawn by the clock, a third are within a second of a file or
folder taking its final name, a third between the end of a stage's process and DVC's record of it. What is struck with
kill -9 is the stage's process, DVC's, or all of them; an interrupt reaches all of them, as Ctrl-C in a terminal does;
a disk is filled to a few free bytes, and emptied again once the pipeline has ended. Disks need Linux, for `unshare`,
and 8 GiB of memory, which hold the disk.
"""

import argparse
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import get_args

import psutil

from pipeline.common.files import sha256_file
from tests.e2e.project import Project, make_project
from tests.e2e.watched import Kind, Run, Strike

AGAIN = 5.0
"""Seconds after which Ctrl-C is pressed again."""
PREPARATION = (sys.executable, "-m", "pipeline.stages", "preset")
"""What `make repro` runs before `dvc repro`."""
IN_NAMESPACE = "ROSKD_ATTACK_DISK"
DISK = 8 << 30


def plan(seed: int, kind: Kind, count: int) -> list[Strike]:
    """Draw the strikes of one kind."""
    draw = random.Random(f"{seed} {kind}")
    spans = {"clock": (0.2, 25.0), "name": (-1.0, 1.0), "record": (0.0, 1.0)}
    strikes = []
    for number in range(count):
        moment = ("clock", "name", "record")[number % 3]
        victim = draw.choice(("stage", "dvc", "all")) if kind == "kill" else "all"
        offset, at_once, free = draw.uniform(*spans[moment]), draw.random() < 0.5, int(2 ** draw.uniform(10, 28))
        strikes.append(Strike(kind, victim, moment, offset, at_once, free))
    return strikes


def strike_run(run: Run, strike: Strike, disk: Path) -> None:
    """Carry a strike out, and wait until nothing of the run is left, or DVC's process alone where `at_once`."""
    family = run.family()
    stage = run.stage()
    if strike.kind == "disk":
        with _filled(disk, strike.free):
            psutil.wait_procs(family, 600)
        return
    victims = {"all": family, "dvc": family[:1], "stage": [stage] if stage else family[:1]}[strike.victim]
    for process in victims:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGINT if strike.kind == "interrupt" else signal.SIGKILL)
    left = psutil.wait_procs(family[:1] if strike.at_once else family, AGAIN)[1]
    again = 0
    while (
        strike.kind == "interrupt" and left and (again := again + 1) < 60
    ):  # DVC ignores Ctrl-C while a stage's process ends: it is pressed again
        for process in run.family():
            with suppress(psutil.Error):
                process.send_signal(signal.SIGINT)
        left = psutil.wait_procs(left, AGAIN)[1]
    left = psutil.wait_procs(left, 600)[1]
    assert not left or strike.at_once, f"still alive ten minutes after {strike}: {left}"


@contextmanager
def _filled(disk: Path, free: int) -> Iterator[None]:
    """Leave `free` bytes on a disk."""
    ballast = disk / "ballast"
    with ballast.open("wb") as stream:
        while (size := _bytes_left(disk) - free) > 0:
            try:
                os.posix_fallocate(stream.fileno(), 0, size)
                break
            except OSError as error:  # the run wrote in between
                if error.errno != errno.ENOSPC:
                    raise
    try:
        yield
    finally:
        ballast.unlink()


def _bytes_left(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def contents(project: Project) -> dict[str, str]:
    """{path: SHA-256} of every file of artifacts/ that a run leaves, but for what only speeds up the next one."""
    root = project.path / "artifacts"
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and ".run.json" not in path.name]
    kept = [path for path in files if path.relative_to(root).parts[0] != "store"]
    return {str(path.relative_to(root)): sha256_file(path) for path in kept}


def trainings(project: Project) -> dict[str, int]:
    """{node of the store: when it was finished}; a training that runs again changes the time."""
    found = (project.path / "artifacts/store").glob("*/[!.]*/made_from.json")
    return {str(path.parent.relative_to(project.path)): path.stat().st_mtime_ns for path in found}


class Attack:
    """Strikes on as many pipelines as they need, and what came of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.logs = folder, Path(tempfile.mkdtemp())  # the logs not on the disk that is filled
        self.reference = make_project(folder / "unbroken run")
        run = Run(self.reference, self.logs / "unbroken.log")
        self.timeline = run.record()
        if run.process.returncode:
            raise SystemExit(f"the unbroken run failed:\n{run.log.read_text()}")
        self.expected, self.nodes = contents(self.reference), set(trainings(self.reference))
        self.counts: Counter[str] = Counter()
        print(f"unbroken run: {time.monotonic() - run.began:.0f} s, {len(self.expected)} files", flush=True)

    def carry_out(self, strikes: list[Strike]) -> None:
        """Strike pipelines until no strike is left; raises AssertionError at the first fault."""
        left = list(reversed(strikes))
        while left:
            number = self.counts["pipelines"] = self.counts["pipelines"] + 1
            project = make_project(self.folder / f"pipeline {number}")
            self._one_pipeline(project, left)
            project.run("rm", "-rf", str(project.path))

    def _one_pipeline(self, project: Project, left: list[Strike]) -> None:
        log, finished = self.logs / "attacked.log", {}
        while True:
            project.run(*PREPARATION)
            run = Run(project, log)
            strike = left[-1] if left else None
            if strike is not None and run.wait_for(strike, self.timeline):
                strike_run(run, left.pop(), self.folder)
                self.counts[strike.kind] += 1
                self.counts[f"{strike.kind} of {strike.victim}, by {strike.moment}"] += 1
                print(f"{sum(self.counts[kind] for kind in get_args(Kind))}: {strike}", flush=True)
                _require_plain(run.log, strike)
            elif run.process.wait():
                raise AssertionError(f"a run that nobody struck failed:\n{run.log.read_text()}")
            now = trainings(project)
            again = [node for node, at in finished.items() if now.get(node) != at]
            assert not again, f"trained again after {strike}: {again}"
            finished = now
            if run.process.poll() == 0:
                break
        found = contents(project)
        different = {name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name)}
        sizes = {name: _size(project.path / "artifacts" / name) for name in sorted(different)}
        assert not different, f"not as in the unbroken run (with their sizes in bytes): {sizes}"
        assert set(trainings(project)) == self.nodes
        self.counts["pipelines with the bytes of the unbroken run"] += 1


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _require_plain(log: Path, strike: Strike) -> None:
    """A full disk or Ctrl-C must not print a traceback; what kill -9 leaves on the screen does not count."""
    printed = log.read_text()
    assert strike.kind == "kill" or "Traceback" not in printed, f"{strike}:\n{printed}"


@contextmanager
def _folder(mounted: bool) -> Iterator[Path]:
    """A folder for everything; on a disk of its own if `mounted`."""
    name = tempfile.mkdtemp()
    if mounted:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "attack", name], check=True)
    try:
        yield Path(name)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", name], check=False)
        shutil.rmtree(name, ignore_errors=True)


def main() -> None:
    """Carry all strikes out and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--interrupts", type=int, default=20)
    parser.add_argument("--disks", type=int, default=20)
    arguments = parser.parse_args()
    if arguments.disks and IN_NAMESPACE not in os.environ:  # where a disk can be mounted without being root
        command = ["unshare", "--map-root-user", "--mount", sys.executable, "-m", "tests.e2e.attack", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=os.environ | {IN_NAMESPACE: "1"}, check=False).returncode)
    with _folder(mounted=bool(arguments.disks)) as folder:
        attack = Attack(folder)
        counted = {"kill": arguments.kills, "interrupt": arguments.interrupts, "disk": arguments.disks}
        try:
            for kind, count in counted.items():
                attack.carry_out(plan(arguments.seed, kind, count))  # type: ignore[arg-type]
        except AssertionError as fault:
            print(f"FAULT: {fault}\n{folder} holds the pipelines; Enter removes them", flush=True)
            with suppress(EOFError):
                input()
            sys.exit(1)
        finally:
            shutil.rmtree(attack.logs, ignore_errors=True)
            for what, count in attack.counts.items():
                print(f"{count:4d} {what}")


if __name__ == "__main__":
    main()
