"""Which interleaving next: strategies over one small interface, and what a schedule is."""
