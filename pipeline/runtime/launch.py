"""Start a stage in several processes under torchrun, on this machine or on several.

Several machines share the project's folder. Each gets torchrun's own settings from the environment, PET_NNODES (how
many machines), PET_RDZV_ENDPOINT (host:port of the first) and, where there are more than two, PET_NODE_RANK. The first
runs `dvc repro`, and process 0 is on it; every other runs `python -m pipeline.stages join`, which takes part in
whatever stage the first one announces in artifacts/launch.json.
"""

import json
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.files import write_json

ADDRESSES = (
    "set PET_NNODES (number of machines, 2 or more) and PET_RDZV_ENDPOINT (host:port of the first one) in the "
    "environment of every machine"
)
PROCESS_GROUP = "ROSKD_PROCESS_GROUP"
"""The environment variable with the file in which processes of one machine find each other; not set on several."""
LOOPBACK = {"darwin": "lo0"}.get(sys.platform, "lo")
POLL = 0.5
"""Seconds between looks for an announcement, and at the processes."""


def under_torchrun() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def torchrun(arguments: list[str], processes: int | None, announcement: Path) -> None:
    """Run `python -m pipeline.stages` with `arguments` in `processes` processes on each machine (None: one per GPU).

    `announcement`: the file in which further machines find the stage.

    Raises UserError with the message of the process that failed first, once all have ended.
    """
    job = {"id": uuid.uuid4().hex, "arguments": arguments}
    alone = _nodes() == 1
    if not alone:
        write_json(announcement, job)
    try:
        _run(job, processes, 0)
    finally:
        if not alone:
            announcement.unlink(missing_ok=True)


def join(processes: int | None, announcement: Path) -> None:
    """Take part, as a further machine, in every stage that the first one announces; ends with Ctrl-C or SIGTERM."""
    if _nodes() == 1:
        raise UserError(f"join: {ADDRESSES}")
    node = int(os.environ.get("PET_NODE_RANK", "1"))
    done = None
    print(f"join: waiting for stages announced in {announcement}", flush=True)
    while True:
        job = _announced(announcement)
        if job is None or job["id"] == done:
            time.sleep(POLL)
            continue
        print(f"join: {' '.join(job['arguments'])}", flush=True)
        try:
            _run(job, processes, node)
        except UserError as error:  # the first machine reports it too, and ends; this one waits for its next try
            print(f"join: {error}", file=sys.stderr, flush=True)
        done = job["id"]


def _announced(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _nodes() -> int:
    given = os.environ.get("PET_NNODES", "1")
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"PET_NNODES is {given!r} in the environment; it is the number of machines, 1 or more")
    if int(given) > 1 and "PET_RDZV_ENDPOINT" not in os.environ:
        raise UserError(f"PET_NNODES is {given}: {ADDRESSES}")
    return int(given)


def _run(job: dict[str, Any], processes: int | None, node: int) -> None:
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # the elastic agent's own log repeats what the message below says
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a first machine that ends first leaves a stack trace here
    import torch
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    nodes = _nodes()
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=nodes,
            max_nodes=nodes,
            nproc_per_node=processes or max(1, torch.cuda.device_count()),
            run_id=job["id"],
            max_restarts=0,
            monitor_interval=POLL,
            **(_on_several_machines(node) if nodes > 1 else _on_this_machine(Path(folder))),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "pipeline.stages", *job["arguments"])
        except ChildFailedError as error:
            raise UserError(_reason(error)) from None


def _on_several_machines(node: int) -> dict[str, Any]:
    """Where the machines meet: at the address of the first one, each with its number."""
    return {
        "rdzv_backend": "static",
        "rdzv_endpoint": os.environ["PET_RDZV_ENDPOINT"],
        "rdzv_configs": {"rank": node},
    }


def _on_this_machine(folder: Path) -> dict[str, Any]:
    """Let the processes meet in files and talk over loopback: torch's own store would listen on every address."""
    os.environ |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", PROCESS_GROUP: f"file://{folder}/processes"}
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, LOOPBACK)
    endpoint = str(folder / "rendezvous")
    return {"rdzv_backend": "c10d", "rdzv_endpoint": endpoint, "rdzv_configs": {"store_type": "file"}}


def _reason(error: Any) -> str:
    """The first failure in words: a process's own message, or how it died."""
    rank, failure = error.get_first_failure()
    if failure.error_file_data.get("user_error"):
        return failure.message
    died = f"of signal {failure.signal_name()}" if failure.exitcode < 0 else f"with exit status {failure.exitcode}"
    return (
        f"process {rank} of the stage died {died}; the others were ended. Its own output is above, if it could write "
        "any (SIGKILL often means that the machine ran out of memory). The next run continues from the last epoch "
        "that was saved"
    )


def report_failure(message: str) -> None:
    """Leave a user's mistake for the launcher, which prints it once for all processes."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is not None:
        content = {"message": message, "timestamp": int(time.time()), "user_error": True}
        Path(path).write_text(json.dumps(content), encoding="utf-8")
