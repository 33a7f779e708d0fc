"""The one training loop and its resume files."""
