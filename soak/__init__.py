"""Faults put into running commands, by seed: ``python -m soak --help``."""
