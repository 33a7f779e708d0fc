"""The exceptions whose messages are meant for the person who runs the pipeline."""


class UserError(Exception):
    """A mistake in parameters, files or data that the user can mend.

    The message names the file or parameter, the value, what is allowed and what to do. The command line prints it
    without a traceback and exits with status 2.
    """


class SettingError(UserError):
    """What these parameters ask for cannot be done with these data: a loss that diverges, a split without a class.

    Another attempt with the same parameters would end the same way; a study goes on with its other settings.
    """
