"""Data that comes with the package: generated, so that nothing large or licensed is shipped."""
