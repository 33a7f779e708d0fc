"""Networks and what a served model needs; this package knows nothing of the pipeline."""
