"""Reuse of trained prompts on other tasks."""
