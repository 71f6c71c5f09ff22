"""Scores of one prompt on one task, with floors and intervals."""
