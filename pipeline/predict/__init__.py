"""Whole folders of images through an exported student, into one table: `python -m pipeline.predict`."""
