"""Losses, teacher weights, soft labels and smoothing: what makes RoS-KD."""
