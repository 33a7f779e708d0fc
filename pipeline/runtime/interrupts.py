"""Ctrl-C at awkward moments: where Python drops every exception, and while a child process loads its modules."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_AFTER = 0.05
"""Seconds until a dropped interrupt comes again; by then the place that dropped it has been left."""


@contextmanager
def dropped_interrupts_come_again() -> Iterator[None]:
    """Send a KeyboardInterrupt that was raised in a `__del__` or in the callback of a weak reference once more.

    Python prints it as "Exception ignored in" and goes on; SQLAlchemy, which a study talks to at every trial, has many
    such callbacks. What else is dropped there goes where it went before.
    """
    before = sys.unraisablehook

    def send_again(dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        # by a thread, so that it is not raised in this hook; to the main thread, to end what that waits for, too
        timer = threading.Timer(AGAIN_AFTER, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def interrupts_wait_in_children() -> Iterator[None]:
    """Let a Ctrl-C wait in the processes that are started here until they call `let_interrupts_in`.

    Otherwise one that comes while they load their modules, which takes seconds, ends them with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which children inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_interrupts_in() -> None:
    """Raise KeyboardInterrupt now if one has waited, and on every Ctrl-C from now on."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
