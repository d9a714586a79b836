"""The guard: what each test of somebody's pytest session left behind, and who is to blame."""
