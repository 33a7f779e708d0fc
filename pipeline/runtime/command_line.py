"""How a command ends: a user's mistake is printed without a traceback, with exit status 2."""

import sys
from collections.abc import Callable

from models.errors import ModelError
from pipeline.common.errors import UserError, masked
from pipeline.runtime.interrupts import dropped_interrupts_come_again


def report(message: str) -> None:
    """Print what is wrong."""
    print(f"error: {message}", file=sys.stderr)


def run_plainly(app: Callable[[], object], report: Callable[[str], None] = report) -> None:
    """Call `app`; a mistake that the user can correct goes to `report`, all else is a bug and shows its traceback."""
    try:
        with dropped_interrupts_come_again():
            app()
    except (UserError, ModelError) as error:
        report(masked(str(error)))
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        report(
            f"{error.filename}: {error.strerror}. Check that the file can be read, that its folder can be written, and "
            "that the disk has room"
        )
        sys.exit(2)
