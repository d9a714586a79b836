"""One file per kind of finding, each a pure function from a Trace to Findings."""
