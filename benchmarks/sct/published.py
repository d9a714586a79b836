"""Mean schedules to the first bug that other tools need on the original programs, with threads.

Each column as its authors report it: a random walk, PCT with depth 3 and POS as implemented for
the comparison; SURW (Zhao et al., "Selectively uniform concurrency testing", ASPLOS 2025); RFF
(Wolff et al., "Greybox fuzzing for concurrency testing", ASPLOS 2024); PERIOD (Wen et al.,
"Controlled concurrency testing via periodical scheduling", ICSE 2022). They are not quite the
same programs as ours: what counts as a step differs from tool to tool, and from here.
"""

from __future__ import annotations

COLUMNS = ("walk", "PCT3", "POS", "SURW", "RFF", "PERIOD")

PUBLISHED: dict[str, tuple[int | None, ...]] = {
    "account": (18, 4, 4, 6, 1, 10),
    "lazy01": (21, 5, 5, 2, 6, 7),
    "deadlock01": (3, 13, 4, 2, 5, 3),
    "twostage": (464, 13, 15, 8, 8, 4),
    "reorder_3": (None, 185, 86, 7, 7, 6),
    "reorder_5": (None, 647, 2169, 10, 6, 12),
    "reorder_10": (None, 3225, None, 17, 6, 27),
    "stack": (176, 3, 2, 5, 2, 8),
    "bluetooth": (215, 112, 36, 70, 45, 9),
    "token_ring": (13, 8, 9, 8, 5, 2),
    "wronglock_3": (36, 58, 11, 9, 1, 5),
    "stringbuffer": (2243, 281, 23, 8, 15, 27),
    "carter01": (1, 5, 2, None, 2, 5),
}
"""In the order of the columns; None: not reported, or not found."""


def published(program: str) -> tuple[int | None, ...]:
    """The figures for a program; all None if nobody reports it."""
    return PUBLISHED.get(program, (None,) * len(COLUMNS))


def best(program: str) -> int | None:
    """The lowest figure of any tool."""
    return min((figure for figure in published(program) if figure is not None), default=None)
