"""How far something is, for whoever waits for it."""

from __future__ import annotations

from typing import Self


class Stage(str):
    """A line that tells how far it is, and the same as numbers, for a bar."""

    __slots__ = ("done", "total")
    done: int
    total: int

    def __new__(cls, text: str, done: int, total: int) -> Self:
        """So much is done, of so much."""
        stage = super().__new__(cls, text)
        stage.done, stage.total = done, total
        return stage
