"""Prompts of one backbone brought into the embedding space of another."""
