"""Layouts, tokenisation and batches."""
