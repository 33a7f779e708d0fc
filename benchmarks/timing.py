"""Time several things turn by turn, so that whatever else the machine does meets all of them alike."""

import time
from collections.abc import Callable, Mapping

import numpy as np

TURNS = 20


def alternate(
    actions: Mapping[str, Callable[[], object]], wait: Callable[[], object] = lambda: None, turns: int = TURNS
) -> dict[str, np.ndarray]:
    """Return the seconds that each action takes in each turn, (turns,), after a first turn that is not counted.

    Every second turn goes backwards, so that a machine that grows slower favours none of them. `wait` is called before
    either look at the clock: it lets a GPU finish, or other processes come here.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(turns + 1):
        for name in list(actions)[:: 1 if turn % 2 else -1]:
            wait()
            started = time.perf_counter()
            actions[name]()
            wait()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in seconds.items()}
