"""The HTTP server of a registered student: MLflow's scoring app behind a guard."""

MODEL = "ROSKD_SERVED_MODEL"
"""The environment variable that names the model to the server."""
PROCESSES = "ROSKD_SERVER_PROCESSES"
"""The environment variable that says how many server processes share the machine's cores."""
