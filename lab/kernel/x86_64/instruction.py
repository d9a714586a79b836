"""What one x86_64 instruction does to memory, from its bytes alone.

At a fault on a guarded page the kernel tells the address and whether it was a write, but not
whether the instruction also reads (`add [mem]`), whether it is atomic (LOCK, xchg) or how many
bytes it touches. To find that out by experiment costs stops; decoding costs microseconds once.

The decoder may say None, "unknown", and the caller falls back to the experiment. It must never be
wrong: an atomic instruction taken for two steps is a false alarm, two steps taken for an atomic
one a missed race.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Literal

from lab.kernel.x86_64.opcodes import find
from lab.kernel.x86_64.prefixes import XMM, Head, parse

Place = Literal["operand", "rsi", "rdi", "push", "pop"]
"""Where an instruction accesses memory: at the operand that it spells out, at [RSI], at [RDI],
just below RSP (push), or at RSP (pop)."""


@dataclass(frozen=True)
class Access:
    """What an instruction does to memory. Neither reads nor writes: it touches none."""

    reads: bool = False
    writes: bool = False
    """With `reads`: first a read, then a write. A masked store (vpmaskmov, AVX-512) writes some
    of its bytes only."""
    atomic: bool = False
    """Nobody can come between its read and its write: LOCK, or xchg."""
    size: int = 0
    """Bytes of its operand; of one element for a repeated string instruction, at which
    single-stepping stops too."""
    repeated: bool = False
    """A string instruction with a REP prefix."""
    length: int = 0
    """Of the instruction, in bytes."""
    source: Place = "operand"
    """What it reads, if it reads."""
    destination: Place = "operand"
    """What it writes, if it writes. Where both places are the same it is one location."""

    def at(self, address: int, *, rsi: int, rdi: int, rsp: int) -> Access:
        """The part of it that concerns one address, given the registers before it runs.

        Only movs, push, pop and call of a memory operand have two places; the other access stays
        out of the answer, even where it hits the same page. Both parts remain where the
        places overlap, or where neither is recognised (a segment override).
        """
        if self.source == self.destination or not (self.reads and self.writes):
            return self
        starts = {"rsi": rsi, "rdi": rdi, "push": rsp - self.size, "pop": rsp}
        places = (self.source, self.destination)
        hits = [
            place
            for place in places
            if place in starts and 0 <= address - starts[place] < self.size
        ]
        # What is spelled out could be anywhere: it is meant when the other one is not.
        hits = hits or [place for place in places if place == "operand"]
        if not hits:
            return self
        return replace(self, reads=self.source in hits, writes=self.destination in hits)


_WITH_MODRM = {
    "r": Access(reads=True),
    "w": Access(writes=True),
    "rw": Access(reads=True, writes=True),
    "xchg": Access(reads=True, writes=True, atomic=True),
    "-": Access(),
    "r+push": Access(reads=True, writes=True, destination="push"),
    "w+pop": Access(reads=True, writes=True, source="pop"),
}
_STRING = {
    "movs": Access(reads=True, writes=True, source="rsi", destination="rdi"),
    "cmps": Access(reads=True, source="rsi"),  # and [RDI]: a read at either place
    "stos": Access(writes=True, destination="rdi"),
    "lods": Access(reads=True, source="rsi"),
    "scas": Access(reads=True, source="rdi"),
}
_WITHOUT_MODRM = {
    ".": Access(),
    "push": Access(writes=True, destination="push"),
    "pop": Access(reads=True, source="pop"),
    "load": Access(reads=True),
    "store": Access(writes=True),
    **_STRING,
}
_LONGEST = 15
_IN_REGISTER = 3  # as the ModRM byte's mod field: its operand is no memory
_SIB = 4  # as its rm field: another byte follows
_NO_BASE = 5  # as rm or SIB base: with mod 0 there are four bytes of address instead


@functools.cache
def access(code: bytes) -> Access | None:
    """What the instruction at the start of `code` does to memory; None: unknown.

    Args:
        code: the bytes from the instruction pointer on: 15, or as many as are mapped.
    """
    try:
        head = parse(code)
        return None if head is None else _decode(code, head)
    except IndexError:
        return None  # the bytes end within the instruction: this is not what was executed


def _decode(code: bytes, head: Head) -> Access | None:
    opcode = code[head.end]
    modrm = code[head.end + 1] if head.end + 1 < len(code) else 0
    rule = find(head, opcode, modrm >> 3 & 7)
    if rule is None:
        return None
    length = head.end + 1 + _bytes(rule.immediate, opcode, head)
    effect = _WITHOUT_MODRM.get(rule.how)
    if effect is None:
        length += _modrm_length(code[head.end + 1 :])
        effect = _WITH_MODRM[rule.how] if modrm >> 6 != _IN_REGISTER else Access()
    touches = effect.reads or effect.writes
    exchanges = effect.reads and effect.writes and effect.source == effect.destination
    locked = head.lock and exchanges
    size = _bytes(rule.sizes[head.mandatory], opcode, head) if touches else 0
    # A LOCK that nothing can be done with, an instruction that is too long or cut off, and a
    # broadcast of something else than an element: the processor would not have come so far.
    if head.lock != locked or length > min(len(code), _LONGEST) or size < 0:
        return None
    return replace(
        effect,
        size=size,
        length=length,
        atomic=effect.atomic or locked,
        repeated=rule.how in _STRING and head.mandatory > 1,
    )


def _modrm_length(code: bytes) -> int:
    """Bytes of the ModRM byte with the SIB byte and the displacement that it calls for."""
    mod, rm = code[0] >> 6, code[0] & 7
    if mod == _IN_REGISTER:
        return 1
    length, base = (2, code[1] & 7) if rm == _SIB else (1, rm)
    displacement = (4 if base == _NO_BASE else 0, 1, 4)[mod]
    return length + displacement


def _bytes(letter: str, opcode: int, head: Head) -> int:
    """Bytes that a size or immediate of the table means here; -1: impossible."""
    wide, general = head.wide, 8 if head.wide else 2 if head.narrow else 4
    if head.broadcast:
        element = 8 if wide else 4
        return {"x": element, "h": element, "b": 1, "-": 0}.get(letter, -1)
    return {
        "-": 0,
        "b": 1,
        "w": 2,
        "d": 4,
        "q": 8,
        "t": 10,
        "o": 16,
        "e": general if opcode & 1 else 1,
        "v": general,
        "z": min(general, 4),
        "y": 8 if wide else 4,
        "c": 16 if wide else 8,
        "s": 2 if head.narrow else 8,
        "a": 4 if head.short_address else 8,
        "x": head.vector,
        "h": head.vector // 2,
        "f": head.vector // 4,
        "g": head.vector // 8,
        "p": 8 if head.vector == XMM else head.vector,
    }[letter]
