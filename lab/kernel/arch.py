"""The architecture of this machine under neutral names: the one place that picks it.

Another one is a folder beside x86_64 with the same names in it, and a line here.
"""

from __future__ import annotations

import platform

from lab.kernel.x86_64 import functions, injection, vdso
from lab.kernel.x86_64.instruction import Access, access
from lab.kernel.x86_64.numbers import NAMES, NEWER, NUMBERS
from lab.kernel.x86_64.registers import Registers

SUPPORTED = platform.machine() == "x86_64"
"""Whether system calls can be named, and processes be controlled, on this machine."""

__all__ = [
    "NAMES",
    "NEWER",
    "NUMBERS",
    "SUPPORTED",
    "Access",
    "Registers",
    "access",
    "functions",
    "injection",
    "vdso",
]
