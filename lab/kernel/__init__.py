"""All that speaks to Linux. Nothing above this package knows the number of a system call."""
