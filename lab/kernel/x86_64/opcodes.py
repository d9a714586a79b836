"""Which x86_64 opcodes touch memory, how, and how many bytes: Intel's opcode maps as one table.

Only what programs run in user mode is listed, and an opcode that is missing is *unknown*, never
harmless. Gathers, xsave, far pointers, AVX-512 compress and the like are missing on purpose: their
size or their places do not follow from the opcode.

A header names the encodings and the opcode map; each line beneath it holds

- the opcodes, with `/n` where the reg field of the ModRM byte extends them;
- what happens. To the ModRM operand: `r`, `w`, `rw`, `xchg` (a rw that needs no LOCK to be
  atomic), `-` (nothing, as in lea), `r+push`, `w+pop`. Without a ModRM byte: `.` (nothing),
  `push`, `pop`, `load` and `store` (the address is in the instruction), and the string
  instructions by name;
- the size, one for all or four for the mandatory prefixes none, 66, F3 and F2 (`?`: no such
  instruction). A letter. Fixed: b 1, w 2, d 4, q 8, t 10, o 16. By operand size: e (1 if the
  opcode is even, else v), v 2/4/8, z 2/4, y 4/8, c 8/16, s 2/8 (the stack's). By vector length:
  x whole, h half, f a quarter, g an eighth, p movddup's;
- the immediate: a letter too, or `a` for an address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.kernel.x86_64.prefixes import Head

_TABLE = """
legacy 00
00-01 08-09 10-11 18-19 20-21 28-29 30-31           rw      e
02-03 0a-0b 12-13 1a-1b 22-23 2a-2b 32-33 38-3b     r       e
04 0c 14 1c 24 2c 34 3c a8                          .       - b
05 0d 15 1d 25 2d 35 3d a9                          .       - z
50-57 9c                                            push    s
58-5f 9d                                            pop     s
63                                                  r       z
68                                                  push    s z
69                                                  r       v z
6a                                                  push    s b
6b                                                  r       v b
70-7f b0-b7 cd e0-e3 eb                             .       - b
80/0-6 83/0-6 c0-c1                                 rw      e b
80/7 83/7 f6/0-1                                    r       e b
81/0-6                                              rw      e z
81/7 f7/0-1                                         r       v z
84-85 8a-8b f6/4-7 f7/4-7                           r       e
86-87                                               xchg    e
88-89                                               w       e
8c                                                  w       w
8d                                                  -       -
8e                                                  r       w
8f/0                                                w+pop   s
90-99 9b 9e-9f cc f4 f5 f8-fd                       .       -
a0-a1                                               load    e a
a2-a3                                               store   e a
a4-a5                                               movs    e
a6-a7                                               cmps    e
aa-ab                                               stos    e
ac-ad                                               lods    e
ae-af                                               scas    e
b8-bf                                               .       - v
c2                                                  pop     s w
c3 c9                                               pop     s
c6/0                                                w       b b
c7/0                                                w       v z
d8 da d9/0 db/0                                     r       d
dc dd/0 df/5                                        r       q
de df/0 d9/5                                        r       w
d9/2-3 db/1-3                                       w       d
dd/1-3 df/7                                         w       q
df/1-3 d9/7 dd/7                                    w       w
db/5 df/4                                           r       t
db/7 df/6                                           w       t
e8                                                  push    q d
e9                                                  .       - d
d0-d3 f6/2-3 f7/2-3 fe/0-1 ff/0-1                   rw      e
ff/2                                                r+push  q
ff/4                                                r       q
ff/6                                                r+push  s
legacy 0f
05 0b 31 77 a2 c8-cf                                .       -
0d 18 1c-1f                                         -       -
40-4f a3 af b8 bc-bd                                r       v
52-53                                               r       x?d?
80-8f                                               .       - d
90-9f                                               w       b
a4 ac                                               rw      v b
a5 ab ad b3 bb                                      rw      v
b0-b1 c0-c1                                         rw      e
b6 be                                               r       b
b7 bf                                               r       w
ba/4                                                r       v b
ba/5-7                                              rw      v b
c3                                                  w       y
c7/1                                                rw      c
legacy vex 0f
7c-7d d0                                            r       ?x?x
ae/2                                                r       d
ae/3                                                w       d
f0                                                  r       ???x
legacy vex evex 0f
10                                                  r       xxdq
11                                                  w       xxdq
12                                                  r       qqxp
13 17                                               w       qq??
14-15 28 54-57                                      r       xx??
16                                                  r       qqx?
29 2b                                               w       xx??
2a                                                  r       qqyy
2c-2d                                               r       qodq
2e-2f                                               r       dq??
51 58-59 5c-5f                                      r       xxdq
5a                                                  r       hxdq
5b                                                  r       xxx?
60-62                                               r       dx??
63-6b 74-76 d4-d5 d8-df e0 e3-e5 e8-ef f4-f6 f8-fe  r       qx??
6c-6d                                               r       ?x??
6e                                                  r       yy??
6f                                                  r       qxxx
70                                                  r       qxxx b
7e                                                  w       yy??
7e                                                  r       ??q?
7f                                                  w       qxxx
c2                                                  r       xxdq b
c4                                                  r       ww?? b
c6                                                  r       xx?? b
d1-d3 e1-e2 f1-f3                                   r       qo??
d6                                                  w       ?q??
e6                                                  r       ?xhx
e7                                                  w       qx??
vex 0f
52-53                                               r       x?d?
77                                                  .       -
legacy 0f38
10 14-15                                            r       ?x??
c8-cd                                               r       x???
f0                                                  r       vv?b
f1                                                  w       vv??
f1                                                  r       ???v
f6                                                  r       ?yy?
legacy vex 0f38
01-03 05-0a                                         r       qx??
17 41 db                                            r       ?x??
legacy vex evex 0f38
00 04 0b 1c-1e                                      r       qx??
20 23 25 30 33 35                                   r       ?h??
21 24 31 34                                         r       ?f??
22 32                                               r       ?g??
28-2b 37-40 cf dc-df                                r       ?x??
vex 0f38
0e-0f 2c-2d 8c                                      r       ?x??
2e-2f 8e                                            w       ?x??
f2-f3                                               r       y???
f5                                                  r       y?yy
f6                                                  r       ???y
f7                                                  r       yyyy
vex evex 0f38
0c-0d 16 36 45-47 50-53 96-98 9a 9c 9e              r       ?x??
a6-a8 aa ac ae b4-b8 ba bc be                       r       ?x??
99 9b 9d 9f a9 ab ad af b9 bb bd bf                 r       ?y??
13                                                  r       ?h??
18 58                                               r       ?d??
19 59                                               r       ?q??
1a 5a                                               r       ?o??
78                                                  r       ?b??
79                                                  r       ?w??
evex 0f38
10-12 14-15 1f 64-66 75-77 7d-7f 8d                 r       ?x??
26-27                                               r       ?xx?
legacy vex 0f3a
0c-0e 40-42 60-63 df                                r       ?x?? b
legacy vex evex 0f3a
0f                                                  r       qx?? b
08-09 44 ce-cf                                      r       ?x?? b
0a                                                  r       ?d?? b
0b                                                  r       ?q?? b
14                                                  w       ?b?? b
15                                                  w       ?w?? b
16                                                  w       ?y?? b
17                                                  w       ?d?? b
20                                                  r       ?b?? b
21                                                  r       ?d?? b
22                                                  r       ?y?? b
vex 0f3a
02 06 46 4a-4c                                      r       ?x?? b
f0                                                  r       ???y b
vex evex 0f3a
00-01 04-05                                         r       ?x?? b
18 38                                               r       ?o?? b
19 39                                               w       ?o?? b
1d                                                  w       ?h?? b
evex 0f3a
03 1e-1f 23 25 3e-3f 42-43                          r       ?x?? b
"""

_MAPS = {"00": 0, "0f": 1, "0f38": 2, "0f3a": 3}
_LINE = re.compile(r"((?:[0-9a-f]{2}\S* +)+)(\S+) +(\S+)(?: +(\S))?")
_OPCODES = re.compile(r"(..)(?:-(..))?(?:/(.)(?:-(.))?)?")


@dataclass(frozen=True)
class Rule:
    """What an opcode does, spelled as in the table."""

    fields: range
    """Values of the ModRM byte's reg field for which it holds."""
    how: str
    sizes: str
    """By mandatory prefix: none, 66, F3, F2."""
    immediate: str
    """"-": none."""


def find(head: Head, opcode: int, field: int) -> Rule | None:
    """The rule of one instruction, None if it is unknown.

    Args:
        head: what comes before the opcode.
        opcode: the opcode byte.
        field: the reg field of the ModRM byte, any number where there is none.
    """
    for rule in _RULES.get((head.encoding, head.opcode_map, opcode), ()):
        if field in rule.fields and rule.sizes[head.mandatory] != "?":
            return rule
    return None


def _parse(table: str) -> dict[tuple[str, int, int], list[Rule]]:
    rules: dict[tuple[str, int, int], list[Rule]] = {}
    encodings: list[str] = []
    opcode_map = 0
    for line in table.strip().splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            *encodings, name = line.split()
            opcode_map = _MAPS[name]
            continue
        opcodes, how, size, immediate = found.groups("-")
        sizes = size * 4 if len(size) == 1 else size
        for word in opcodes.split():
            first, last, field, last_field = _OPCODES.findall(word)[0]
            fields = range(int(field or 0), int(last_field or field or 7) + 1)
            rule = Rule(fields, how, sizes, immediate)
            for opcode in range(int(first, 16), int(last or first, 16) + 1):
                for encoding in encodings:
                    rules.setdefault((encoding, opcode_map, opcode), []).append(rule)
    return rules


_RULES = _parse(_TABLE)
