"""What each command of `lab` does: one file per command, each with `execute(arguments)`.

A module here is imported only when its command runs, so that `lab --help` stays instant.
"""
