"""The one exception whose message is meant for the person who runs the pipeline."""


class UserError(Exception):
    """A mistake in parameters, files or data that the user can mend.

    The message names the file or parameter, the value, what is allowed and what to do. The command line prints it
    without a traceback and exits with status 2.
    """
