"""The command line: one file a resource, no logic."""
