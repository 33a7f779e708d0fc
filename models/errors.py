"""What the networks and their serving refuse, in words for the person who asked."""


class ModelError(ValueError):
    """Base of this package's errors; the message names the file or value, what is allowed and what to do."""


class WeightsError(ModelError):
    """Weights that cannot be had or do not fit the network; the message names the file or address and what to do."""
