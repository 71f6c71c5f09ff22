"""Prompt training on transformers' Trainer."""
