"""Figures and tables; reads results only."""
