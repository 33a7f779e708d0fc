"""Metrics and the statistics of comparing methods."""
