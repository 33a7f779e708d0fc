"""Searches with Optuna, and ablation grids: many students on shared teachers."""
