"""A part of programs under test, as text: let two children do something, and wait for both."""

from __future__ import annotations

BOTH = """
def both(work):
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            work()
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
"""
