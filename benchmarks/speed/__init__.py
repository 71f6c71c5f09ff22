"""The parts of ``performance.py``."""
