from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.kernel.arch import Access, access

# Machine code, what it does to memory (r, w, a: atomic), how many bytes of it, and its text.
EXPECTED = """
488b07                     r   8   mov rax, [rdi]
668907                     w   2   mov [rdi], ax
c684877856341207           w   1   mov byte ptr [rdi+rax*4+0x12345678], 7
c7051000000044332211       w   4   mov dword ptr [rip+0x10], 0x11223344
66c7072211                 w   2   mov word ptr [rdi], 0x1122
a08877665544332211         r   1   movabs al, [0x1122334455667788]
48a38877665544332211       w   8   movabs [0x1122334455667788], rax
67c70707000000             w   4   mov dword ptr [edi], 7
8e27                       r   2   mov fs, word ptr [rdi]
830701                     rw  4   add dword ptr [rdi], 1
480345f8                   r   8   add rax, [rbp-8]
45000424                   rw  1   add [r12], r8b
66418155003412             rw  2   adc word ptr [r13+0], 0x1234
813f78563412               r   4   cmp dword ptr [rdi], 0x12345678
803f01                     r   1   cmp byte ptr [rdi], 1
483937                     r   8   cmp [rdi], rsi
f60701                     r   1   test byte ptr [rdi], 1
f70778563412               r   4   test dword ptr [rdi], 0x12345678
488507                     r   8   test [rdi], rax
48f717                     rw  8   not qword ptr [rdi]
f61f                       rw  1   neg byte ptr [rdi]
f727                       r   4   mul dword ptr [rdi]
48f73f                     r   8   idiv qword ptr [rdi]
ff07                       rw  4   inc dword ptr [rdi]
fe0f                       rw  1   dec byte ptr [rdi]
c12703                     rw  4   shl dword ptr [rdi], 3
d03f                       rw  1   sar byte ptr [rdi], 1
48d30f                     rw  8   ror qword ptr [rdi], cl
0fa40703                   rw  4   shld [rdi], eax, 3
480fad07                   rw  8   shrd [rdi], rax, cl
6b0703                     r   4   imul eax, [rdi], 3
48690778563412             r   8   imul rax, [rdi], 0x12345678
0faf07                     r   4   imul eax, [rdi]
486307                     r   4   movsxd rax, dword ptr [rdi]
0fb607                     r   1   movzx eax, byte ptr [rdi]
480fbf07                   r   2   movsx rax, word ptr [rdi]
0f4407                     r   4   cmove eax, [rdi]
0f9507                     w   1   setne [rdi]
0fba2703                   r   4   bt dword ptr [rdi], 3
480fba2f03                 rw  8   bts qword ptr [rdi], 3
0fbb07                     rw  4   btc [rdi], eax
f30fb807                   r   4   popcnt eax, [rdi]
f3480fbc07                 r   8   tzcnt rax, [rdi]
f0830701                   rwa 4   lock add dword ptr [rdi], 1
f048ff07                   rwa 8   lock inc qword ptr [rdi]
f0800f01                   rwa 1   lock or byte ptr [rdi], 1
f00fc107                   rwa 4   lock xadd [rdi], eax
f00fb10f                   rwa 4   lock cmpxchg [rdi], ecx
f00fc70f                   rwa 8   lock cmpxchg8b [rdi]
f0480fc70f                 rwa 16  lock cmpxchg16b [rdi]
f00fba3707                 rwa 4   lock btr dword ptr [rdi], 7
66f0f71f                   rwa 2   lock neg word ptr [rdi]
8707                       rwa 4   xchg [rdi], eax
8607                       rwa 1   xchg [rdi], al
480fc107                   rw  8   xadd [rdi], rax
0fb00f                     rw  1   cmpxchg [rdi], cl
480fc307                   w   8   movnti [rdi], rax
0f38f007                   r   4   movbe eax, [rdi]
660f38f107                 w   2   movbe [rdi], ax
66f20f38f107               r   2   crc32 eax, word ptr [rdi]
ff27                       r   8   jmp [rdi]
50                         w   8   push rax
58                         r   8   pop rax
e800000000                 w   8   call 5
c3                         r   8   ret
c9                         r   8   leave
ab                         w   4   stosd
66ad                       r   2   lodsw
ae                         r   1   scasb
48a7                       r   8   cmpsq
488d07                     -   0   lea rax, [rdi]
0f1f07                     -   0   nop dword ptr [rdi]
0f180f                     -   0   prefetcht0 [rdi]
89f8                       -   0   mov eax, edi
4883c001                   -   0   add rax, 1
0f8500000000               -   0   jne 5
48b88877665544332211       -   0   movabs rax, 0x1122334455667788
f30f1efa                   -   0   endbr64
0f05                       -   0   syscall
dd07                       r   8   fld qword ptr [rdi]
db2f                       r   10  fld tbyte ptr [rdi]
db3f                       w   10  fstp tbyte ptr [rdi]
db1f                       w   4   fistp dword ptr [rdi]
df2f                       r   8   fild qword ptr [rdi]
d807                       r   4   fadd dword ptr [rdi]
d93f                       w   2   fnstcw [rdi]
d92f                       r   2   fldcw [rdi]
0fae1f                     w   4   stmxcsr [rdi]
0fae17                     r   4   ldmxcsr [rdi]
0f1007                     r   16  movups xmm0, [rdi]
0f1107                     w   16  movups [rdi], xmm0
440f290f                   w   16  movaps [rdi], xmm9
f30f6f07                   r   16  movdqu xmm0, [rdi]
660f7f07                   w   16  movdqa [rdi], xmm0
660fe707                   w   16  movntdq [rdi], xmm0
f30f1007                   r   4   movss xmm0, [rdi]
f20f1107                   w   8   movsd [rdi], xmm0
0f1307                     w   8   movlps [rdi], xmm0
660f1607                   r   8   movhpd xmm0, [rdi]
660f7e07                   w   4   movd [rdi], xmm0
660fd607                   w   8   movq [rdi], xmm0
f30f7e07                   r   8   movq xmm0, [rdi]
0f6f07                     r   8   movq mm0, [rdi]
f20f1207                   r   8   movddup xmm0, [rdi]
f20f5807                   r   8   addsd xmm0, [rdi]
0f5807                     r   16  addps xmm0, [rdi]
f2480f2a07                 r   8   cvtsi2sd xmm0, qword ptr [rdi]
f3480f2c07                 r   4   cvttss2si rax, [rdi]
0f5a07                     r   8   cvtps2pd xmm0, [rdi]
660f2e07                   r   8   ucomisd xmm0, [rdi]
660fef07                   r   16  pxor xmm0, [rdi]
0ffe07                     r   8   paddd mm0, [rdi]
0f6007                     r   4   punpcklbw mm0, [rdi]
660fd107                   r   16  psrlw xmm0, [rdi]
660f700701                 r   16  pshufd xmm0, [rdi], 1
660fc40701                 r   2   pinsrw xmm0, [rdi], 1
660f3a140701               w   1   pextrb [rdi], xmm0, 1
66480f3a160701             w   8   pextrq [rdi], xmm0, 1
660f383007                 r   8   pmovzxbw xmm0, [rdi]
660f3a630701               r   16  pcmpistri xmm0, [rdi], 1
c5fe6f07                   r   32  vmovdqu ymm0, [rdi]
c4017e7f3c48               w   32  vmovdqu [r8+r9*2], ymm15
c5fde707                   w   32  vmovntdq [rdi], ymm0
c4e27d7807                 r   1   vpbroadcastb ymm0, [rdi]
c5f57407                   r   32  vpcmpeqb ymm0, ymm1, [rdi]
c5fa1107                   w   4   vmovss [rdi], xmm0
c4e2f1b907                 r   8   vfmadd231sd xmm0, xmm1, [rdi]
c4e37d390701               w   16  vextracti128 [rdi], ymm0, 1
c4e27d8e0f                 w   32  vpmaskmovd [rdi], ymm0, ymm1
c4e270f207                 r   4   andn eax, ecx, [rdi]
c4e2f1f707                 r   8   shlx rax, [rdi], rcx
62f1fe486f07               r   64  vmovdqu64 zmm0, [rdi]
62f17f497f07               w   64  vmovdqu8 [rdi]{k1}, zmm0
62e17e286f4702             r   32  vmovdqu32 ymm16, [rdi+0x40]
62f17c482907               w   64  vmovaps [rdi], zmm0
62f17558fe07               r   4   vpaddd zmm0, zmm1, [rdi]{1to16}
62f37d403f0704             r   64  vpcmpneqb k0, zmm16, [rdi]
62e375202507de             r   32  vpternlogd ymm16, ymm17, [rdi], 0xde
62f17548da07               r   64  vpminub zmm0, zmm1, [rdi]
62f27d483007               r   32  vpmovzxbw zmm0, [rdi]
"""
ROWS = [line.split(maxsplit=3) for line in EXPECTED.strip().splitlines()]


def _kind(found: Access) -> str:
    return "r" * found.reads + "w" * found.writes + "a" * found.atomic or "-"


@pytest.mark.parametrize(("code", "kind", "size", "text"), ROWS, ids=[row[3] for row in ROWS])
def test_an_instruction_is_classified(code: str, kind: str, size: str, text: str) -> None:
    found = access(bytes.fromhex(code).ljust(15, b"\x90"))

    assert found is not None, text
    assert _kind(found) == kind
    assert found.size == int(size)
    assert found.length == len(code) // 2
    assert not found.repeated


def test_the_table_above_is_what_an_assembler_makes_of_its_text(tmp_path: Path) -> None:
    if not shutil.which("as") or not shutil.which("objdump"):
        pytest.skip("the GNU assembler is not installed: install binutils")
    source, unit = tmp_path / "table.s", tmp_path / "table.o"
    lines = [f"l{number}: {row[3]}\n" for number, row in enumerate(ROWS)]
    source.write_text(".intel_syntax noprefix\n" + "".join(lines))
    subprocess.run(["as", "-o", unit, source], check=True)

    assembled = [code.hex() for code, _ in _disassembled(unit)]

    assert assembled == [row[0] for row in ROWS]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("c4e26d90048f", "a gather reads several places"),
        ("0fae20", "the size of xsave depends on the machine"),
        ("ff1f", "a far call"),
        ("0f", "cut off after the escape byte"),
        ("488b", "cut off before the ModRM byte"),
        ("8b0425112233", "cut off in the displacement"),
        ("c707070000", "cut off in the immediate"),
        ("2e" * 14 + "8b07", "no instruction is longer than 15 bytes"),
        ("f08b07", "a load cannot be locked"),
        ("f001c0", "an addition to a register cannot be locked"),
        ("f0a4", "a string instruction cannot be locked"),
        ("66c5fa6f07", "66 is not allowed before VEX"),
        ("48c5fa6f07", "REX is not allowed before VEX"),
        ("62f1fe686f07", "there is no vector of 128 bytes"),
        ("62f17e181107", "a store does not broadcast"),
        ("62f9fe486f07", "a bit that is fixed in EVEX is set"),
    ],
)
def test_what_does_not_follow_from_the_bytes_is_unknown(code: str, why: str) -> None:
    assert access(bytes.fromhex(code)) is None, why


@pytest.mark.parametrize("code", ["f3a4", "f2aa", "f348a5", "f3a6", "f2ae", "f3ad"])
def test_a_repeated_string_instruction_is_told_with_the_size_of_one_element(code: str) -> None:
    found = access(bytes.fromhex(code))

    assert found is not None
    assert found.repeated
    assert found.size == {"48a5": 8, "ad": 4}.get(code[2:], 1)


def test_rep_before_anything_else_repeats_nothing() -> None:
    found = access(bytes.fromhex("f38907"))

    assert found is not None
    assert (_kind(found), found.repeated) == ("w", False)


RSI, RDI, RSP = 0x1000, 0x5000, 0x9000


@pytest.mark.parametrize(
    ("code", "address", "kind"),
    [
        ("48a5", RSI, "r"),
        ("48a5", RSI + 7, "r"),  # the part of an element on the next page is what faults
        ("48a5", RDI, "w"),
        ("48a5", RSI + 8, "rw"),  # neither is there: a segment override
        ("ff37", RSI, "r"),  # push [rdi]
        ("ff37", RSP - 8, "w"),
        ("8f07", RSI, "w"),  # pop [rdi]
        ("8f07", RSP + 7, "r"),
        ("ff17", RSI, "r"),  # call [rdi]
        ("ff17", RSP - 1, "w"),
        ("f00107", RDI, "rwa"),
        ("48a7", RDI, "r"),
        ("8907", RSI, "w"),
    ],
)
def test_of_two_places_the_faulting_address_tells_which(code: str, address: int, kind: str) -> None:
    found = access(bytes.fromhex(code))

    assert found is not None
    assert _kind(found.at(address, rsi=RSI, rdi=RDI, rsp=RSP)) == kind


def test_a_string_move_onto_itself_is_both() -> None:
    found = access(bytes.fromhex("48a5"))

    assert found is not None
    assert _kind(found.at(RSI + 4, rsi=RSI, rdi=RSI + 4, rsp=RSP)) == "rw"


_PREFIX = st.sampled_from([b"", b"\x66", b"\xf0", b"\xf2", b"\xf3", b"\x48", b"\x66\x4f"])
_ESCAPE = st.sampled_from([b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a", b"\xc5", b"\xc4", b"\x62"])
_CODE = st.one_of(
    st.binary(max_size=20), st.builds(lambda *parts: b"".join(parts), _PREFIX, _ESCAPE, st.binary())
)


@settings(deadline=None)
@given(_CODE)
def test_any_bytes_are_an_instruction_of_known_length_or_unknown(code: bytes) -> None:
    found = access(code)

    if found is not None:
        assert 1 <= found.length <= min(15, len(code))
        assert bool(found.size) == (found.reads or found.writes)
        assert access(code[: found.length]) == found, "it depends on what comes after it"
        assert access(code[: found.length - 1]) is None, "a part of it was taken for the whole"


_SIZES = {"BYTE": 1, "WORD": 2, "DWORD": 4, "QWORD": 8, "TBYTE": 10}
_SIZES |= {"XMMWORD": 16, "YMMWORD": 32, "ZMMWORD": 64}
_INSTRUCTION = re.compile(
    r"((?:(?:lock|rep\w*|data16|notrack|bnd|[cdefgs]s|rex\S*) +)*)(\S+) *(.*)"
)
_LOADS = re.compile(
    r"cmp|test|push|call|jmp|bt|i?mul|i?div|v?ldmxcsr|fi?ld\w*|fi?(add|subr?|mul|divr?|comp?)"
)
_STORES = re.compile(r"v?p?mov\w*|set\w+|pop|f?n?v?st\w+|fi?sttp|fistp?|v?p?extr\w+|v?p?maskmov\w+")
_NO_ACCESS = re.compile(r"lea|nop|prefetch\w+")
_STRINGS = re.compile(r"(movs|cmps|stos|lods|scas)\w?")


def _disassembled(path: Path) -> Iterator[tuple[bytes, str]]:
    command = ["objdump", "-d", "-w", "-M", "intel", "--insn-width=16", str(path)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        match line.split("\t"):
            case [address, code, text] if address.endswith(":"):
                yield bytes.fromhex(code), text.partition("#")[0].partition("<")[0].strip()


def _loaded(name: str) -> Path:
    maps = Path("/proc/self/maps").read_text()
    found = re.search(rf"/\S*/{re.escape(name)}$", maps, re.MULTILINE)
    if found is None:
        pytest.skip(f"this Python does not use {name}")
    return Path(found[0])


def _agrees(found: Access, text: str) -> bool:
    """Whether a decoded access is what its text in Intel's syntax says."""
    parsed = _INSTRUCTION.fullmatch(text)
    assert parsed is not None
    prefixes, mnemonic, operands = parsed.groups()
    size = re.search(r"(\w+) PTR ", operands)
    if size is None or _NO_ACCESS.fullmatch(mnemonic):
        return True  # the text does not say what it does to memory
    if _SIZES[size[1]] != found.size:
        return False
    if _STRINGS.fullmatch(mnemonic):
        return found.repeated == ("rep" in prefixes)
    is_target = " PTR " in operands.partition(",")[0]
    reads = not (is_target and _STORES.fullmatch(mnemonic))
    writes = is_target and not _LOADS.fullmatch(mnemonic)
    atomic = "lock" in prefixes or mnemonic == "xchg"
    # The text tells the operand that is spelled out, not what push and pop do to the stack.
    decoded = found.at(0, rsi=RSI, rdi=RDI, rsp=RSP)
    return (decoded.reads, decoded.writes, decoded.atomic) == (reads, writes, atomic)


def test_a_whole_libc_is_classified_as_objdump_prints_it() -> None:
    if not shutil.which("objdump"):
        pytest.skip("objdump is not installed: install binutils")
    instructions = set(_disassembled(_loaded("libc.so.6")))
    decoded = [(code, text, access(code.ljust(15, b"\x90"))) for code, text in instructions]

    wrong = [
        (code.hex(), text, found)
        for code, text, found in decoded
        if found is not None and not (found.length == len(code) and _agrees(found, text))
    ]
    unknown = [text for _, text, found in decoded if found is None and " PTR " in text]

    assert wrong[:5] == []
    assert len(instructions) > 10_000
    assert len(unknown) < len(instructions) / 1000
