"""Fixtures of the served model."""

from tests.models.made_student import write_student

__all__ = ["write_student"]
