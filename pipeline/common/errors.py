"""The exceptions whose messages are meant for the person who runs the pipeline."""

import re

PASSWORD = re.compile(r"(://[^\s/:@]*:)\S+@")
"""The password of a URL, up to the last @ of its word: it may itself hold one."""
QUERIED = re.compile(r"([?&][^=&\s]*(?:pass|pwd|secret|token|key)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE)
"""The same in the query of a URL."""


class UserError(Exception):
    """A mistake in parameters, files or data that the user can correct.

    The message names the file or parameter, the value, what is allowed and what to do. The command line prints it
    without a traceback and exits with status 2. Passwords in URLs are masked.
    """

    def __str__(self) -> str:
        return masked(super().__str__())


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, without passwords."""
    return masked(str(error).strip().partition("\n")[0])


def masked(text: str) -> str:
    """Return text with the passwords of all URLs in it replaced by ***."""
    return QUERIED.sub(r"\1***", PASSWORD.sub(r"\1***@", text))


class SettingError(UserError):
    """What these parameters ask for cannot be done with these data: a loss that diverges, a split without a class.

    Another attempt with the same parameters would end the same way; a study continues with its other settings.
    """
