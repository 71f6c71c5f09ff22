"""One self-contained HTML page: what it consists of, its charts, and how it is written."""
