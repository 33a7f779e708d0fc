"""What the networks and their serving refuse, in words for the person who asked."""


class ModelError(ValueError):
    """Base of this package's errors; the message names the file or value, what is allowed and what to do."""
