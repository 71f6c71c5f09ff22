"""Everything that was recorded below a folder, as one page: readers of records, a file a kind."""
