"""How a command ends: a user's mistake is told in plain words, with exit status 2."""

import sys
from collections.abc import Callable

from models.errors import ModelError
from pipeline.common.errors import UserError


def tell(message: str) -> None:
    """Say what is wrong."""
    print(f"error: {message}", file=sys.stderr)


def run_plainly(app: Callable[[], object], tell: Callable[[str], None] = tell) -> None:
    """Call `app`; what a user can mend is told by `tell`, everything else is a bug and shows its traceback."""
    try:
        app()
    except (UserError, ModelError) as error:
        tell(str(error))
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        tell(
            f"{error.filename}: {error.strerror}. Check that the file can be read, that its folder can be written, and "
            "that the disk has room"
        )
        sys.exit(2)
