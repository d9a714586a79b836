"""What comes before the opcode of an x86_64 instruction: prefixes, REX, VEX and EVEX."""

from __future__ import annotations

from dataclasses import dataclass

XMM = 16
"""Bytes in the shortest vector register."""

_OPERAND, _ADDRESS, _LOCK, _REPNE, _REP = 0x66, 0x67, 0xF0, 0xF2, 0xF3
_SEGMENTS = (0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65)
_LEGACY = frozenset((_OPERAND, _ADDRESS, _LOCK, _REPNE, _REP, *_SEGMENTS))
_REX = range(0x40, 0x50)
_VEX2, _VEX3, _EVEX = 0xC5, 0xC4, 0x62
_ESCAPE = 0x0F
_NO_LENGTH = 3


@dataclass(frozen=True)
class Head:
    """All that comes before the opcode."""

    end: int
    """Position of the opcode."""
    encoding: str
    """"legacy", "vex" or "evex"."""
    opcode_map: int
    """0 for one-byte opcodes, 1 for 0F, 2 for 0F38, 3 for 0F3A."""
    mandatory: int
    """The prefix that selects the instruction, as VEX numbers it: 0 none, 1 66, 2 F3, 3 F2."""
    wide: bool
    """REX.W or its kin: 64-bit operands."""
    narrow: bool = False
    """66, not overridden by REX.W: 16-bit operands."""
    short_address: bool = False
    """67: 32-bit addresses."""
    lock: bool = False
    vector: int = XMM
    """Bytes in a vector."""
    broadcast: bool = False
    """EVEX.b: of a memory operand one element is read, and repeated."""


def parse(code: bytes) -> Head | None:
    """Read the prefixes; None for what the processor refuses. Raises IndexError: cut off."""
    seen: set[int] = set()
    rex = mandatory = position = 0
    while (byte := code[position]) in _LEGACY or byte in _REX:
        # A REX prefix counts only right before the opcode, and of F2 and F3 the last one counts.
        rex = byte if byte in _REX else 0
        mandatory = {_REP: 2, _REPNE: 3}.get(byte, mandatory)
        seen.add(byte)
        position += 1
    short_address = _ADDRESS in seen
    if byte in (_VEX2, _VEX3, _EVEX):
        if rex or mandatory or seen & {_OPERAND, _LOCK}:
            return None
        head = _evex if byte == _EVEX else _vex
        return head(code[position : position + 4], position, short_address)
    opcode_map = 0
    if byte == _ESCAPE:
        opcode_map = {0x38: 2, 0x3A: 3}.get(code[position + 1], 1)
        position += 1 if opcode_map == 1 else 2
    wide = bool(rex & 8)
    return Head(
        end=position,
        encoding="legacy",
        opcode_map=opcode_map,
        mandatory=mandatory or int(_OPERAND in seen),
        wide=wide,
        narrow=_OPERAND in seen and not wide,
        short_address=short_address,
        lock=_LOCK in seen,
    )


def _vex(code: bytes, start: int, short_address: bool) -> Head:
    # The two-byte form is the other one for map 1; its first bit is a register's, not W.
    short = code[0] == _VEX2
    last = code[1] if short else code[2]
    return Head(
        end=start + (2 if short else 3),
        encoding="vex",
        opcode_map=1 if short else code[1] & 0x1F,
        mandatory=last & 3,
        wide=not short and bool(last & 0x80),
        short_address=short_address,
        vector=XMM << (last >> 2 & 1),
    )


def _evex(code: bytes, start: int, short_address: bool) -> Head | None:
    length = code[3] >> 5 & 3
    # Two bits are fixed until an extension (APX) makes other instructions of them.
    if code[1] & 8 or not code[2] & 4 or length == _NO_LENGTH:
        return None
    return Head(
        end=start + 4,
        encoding="evex",
        opcode_map=code[1] & 7,
        mandatory=code[2] & 3,
        wide=bool(code[2] & 0x80),
        short_address=short_address,
        vector=XMM << length,
        broadcast=bool(code[3] & 0x10),
    )
