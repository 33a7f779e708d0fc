"""The HTTP server of a registered student: MLflow's scoring app behind a guard."""

MODEL = "ROSKD_SERVED_MODEL"
"""The environment variable that names the model to the server."""
