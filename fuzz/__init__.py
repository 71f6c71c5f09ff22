"""Hostile files: what every reader of files from strangers does with damaged and invented ones."""
