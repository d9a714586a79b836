"""Models of system calls, one file per family; together they say which calls are visible."""
