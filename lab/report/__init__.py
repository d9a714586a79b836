"""What a reader sees: one file per format, each a pure function of results."""
