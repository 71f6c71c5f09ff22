"""Activated neurons: captured under a prompt, compared between prompts, masked and induced."""
