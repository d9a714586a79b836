"""The glyph of each kind of step: a path round (0, 0), seven units to each side.

A glyph is told apart by its form, and colour only says whose it is: what changes something is
solid, what only looks or takes is hollow.
"""

from __future__ import annotations

from typing import Final

_CIRCLE = "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0z"
_DIAMOND = "M0-6.5L6.5 0L0 6.5L-6.5 0z"
_BOLT = "M2-7.5L-5 1.2H-.8L-2 7.5L5-1.2H.8z"

GLYPHS: Final[dict[str, tuple[str, str]]] = {
    "read": ("hollow", _CIRCLE),
    "write": ("solid", _CIRCLE),
    "update": ("hollow", f"{_CIRCLE}M-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z"),
    "lost": (
        "solid",
        (
            "M-8.5 0a8.5 8.5 0 1 0 17 0a8.5 8.5 0 1 0-17 0z"
            "M-4.2-2.8L-2.8-4.2L0-1.4L2.8-4.2L4.2-2.8L1.4 0L4.2 2.8L2.8 4.2L0 1.4L-2.8 4.2L-4.2 2.8"
            "L-1.4 0z"
        ),
    ),
    "acquire": (
        "solid",
        (
            "M-5.5-1h11v7.5h-11zM-3.2-1v-2.3a3.2 3.2 0 0 1 6.4 0v2.3h-1.6v-2.3a1.6"
            " 1.6 0 0 0-3.2 0v2.3z"
        ),
    ),
    "release": ("hollow", "M-5.5-1h11v7.5h-11zM-3.2-1v-3.3a3.2 3.2 0 0 1 6-1.5"),
    "send": ("solid", "M-5-6L6.5 0L-5 6L-2.5 0z"),
    "receive": ("hollow", "M-5-6L6.5 0L-5 6L-2.5 0z"),
    "open": ("hollow", _DIAMOND),
    "create": ("solid", _DIAMOND),
    "close": ("hollow", "M0-4L4 0L0 4L-4 0z"),
    "remove": ("hollow", f"{_DIAMOND}M-3-3L3 3M3-3L-3 3"),
    "fork": ("stroke", "M-6 0h4L4.5-5.5M-2 0L4.5 5.5"),
    "exec": ("stroke", "M-5-5L0 0L-5 5M1-5L6 0L1 5"),
    "exit": ("solid", "M-5-5h10v10h-10z"),
    "wait": ("hollow", "M-5-6.5h10L-5 6.5h10z"),
    "signal": ("solid", _BOLT),
    "deliver": ("hollow", _BOLT),
    "sleep": ("stroke", "M-4-4.5h8L-4 4.5h8"),
    "start": ("solid", "M-1.8-6.5h3.6v13h-3.6z"),
    "call": ("solid", "M-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0z"),
}
"""For each action, and for "lost": whether it is solid, hollow or a stroke, and its path."""

WORDS: Final[dict[str, str]] = {
    "lost": "the step that does the damage",
    "start": "begins",
    "update": "update (atomic)",
    "deliver": "signal arrives",
    "wait": "wait (takes an exit)",
}
"""What the legend calls those whose action does not say it."""
