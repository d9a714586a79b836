"""Everything that is peculiar to x86_64; `lab.kernel.arch` is the only one to import from here."""
