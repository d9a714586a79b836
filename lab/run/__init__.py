"""One run of a program: its sandbox, and the watch over it."""
