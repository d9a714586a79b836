from __future__ import annotations

import ctypes
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.kernel.elf import ELFError, load_bias, symbols, vdso_functions

PROGRAM = r"""
#include <stdio.h>
int counter_of_the_test = 7;
__thread int of_a_thread = 1;
int function_of_the_test(int x) { return x + counter_of_the_test + of_a_thread; }
static void *picked(void) { return function_of_the_test; }
int indirect(int) __attribute__((ifunc("picked")));
int main(void) {
    printf("%p %p\n", (void *)function_of_the_test, (void *)&counter_of_the_test);
    fflush(stdout);
    return getchar() == 'x';
}
"""
NAMES = ["function_of_the_test", "counter_of_the_test", "indirect", "of_a_thread", "printf"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed: these tests read what it makes")
    directory = tmp_path_factory.mktemp("elf")
    (directory / "program.c").write_text(PROGRAM)
    return directory


def _compiled(directory: Path, *options: str) -> Path:
    target = directory / "-".join(["program", *options]).replace("/", "_")
    if not target.exists():
        command = ["gcc", str(directory / "program.c"), *options, "-o", str(target)]
        subprocess.run(command, check=True, capture_output=True)
    return target


def _code(pid: int | str, path: str) -> tuple[int, int]:
    maps = Path(f"/proc/{pid}/maps").read_text()
    line = re.search(rf"^(\w+)-\w+ ..x. (\w+) .*{re.escape(path)}$", maps, re.MULTILINE)
    assert line is not None, maps
    return int(line[1], 16), int(line[2], 16)


@pytest.mark.parametrize(
    "options",
    [
        ("-pie",),
        ("-no-pie",),
        ("-pie", "-Wl,-z,noseparate-code"),
        ("-no-pie", "-Wl,-z,noseparate-code"),
        ("-pie", "-s", "-rdynamic"),
        ("-pie", "-rdynamic", "-Wl,--hash-style=sysv"),
        ("-pie", "-s", "-rdynamic", "-Wl,--hash-style=gnu"),
        ("-pie", "-s", "-rdynamic", "-Wl,-z,max-page-size=0x200000"),
        ("-pie", "-rdynamic", "-fuse-ld=gold", "-Wl,--rosegment"),
    ],
    ids=" ".join,
)
def test_an_address_is_the_one_that_the_program_itself_sees(
    directory: Path, options: tuple[str, ...]
) -> None:
    if "-fuse-ld=gold" in options and not shutil.which("ld.gold"):
        pytest.skip("ld.gold is not installed: this program is one of its making")
    program = _compiled(directory, *options)
    found = symbols(str(program), NAMES)

    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = [int(address, 16) for address in process.stdout.readline().split()]
        bias = load_bias(str(program), *_code(process.pid, str(program)))
        process.communicate(b"\n")

    assert bool(bias) == ("-pie" in options)
    assert [bias + address for address in found["function_of_the_test"]] == seen[:1]
    assert [bias + address for address in found["counter_of_the_test"]] == seen[1:]
    # A resolver, a thread's variable and another library's function are no addresses here.
    assert set(found) == {"function_of_the_test", "counter_of_the_test"}


def test_a_stripped_static_program_has_no_symbols(tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed: this test reads what it makes")
    source, program = tmp_path / "s.s", tmp_path / "static"
    source.write_text(".globl _start\n_start: mov $60, %eax\nxor %edi, %edi\nsyscall\n")
    command = ["gcc", "-nostdlib", "-static", str(source), "-o", str(program)]

    subprocess.run(command, check=True)
    assert "_start" in symbols(str(program), ["_start"])

    program.unlink()
    subprocess.run([*command, "-s"], check=True)
    assert symbols(str(program), ["_start"]) == {}


def test_libc_functions_are_where_the_dynamic_linker_finds_them() -> None:
    libc = ctypes.CDLL(None)
    maps = Path("/proc/self/maps").read_text()
    path = re.search(r"/\S*/libc\.so\.6$", maps, re.MULTILINE)
    if path is None:
        pytest.skip("this Python does not use the GNU C library")
    names = ["sem_wait", "sem_post", "sem_trywait", "sem_timedwait", "no_such_function"]

    found = symbols(path[0], names)
    bias = load_bias(path[0], *_code("self", path[0]))

    assert set(found) == set(names[:-1])
    for name, addresses in found.items():
        linked = ctypes.cast(libc[name], ctypes.c_void_p).value
        assert linked in [bias + address for address in addresses]


def test_a_name_that_ends_another_is_found(directory: Path) -> None:
    # Linkers keep "of_the_test" as the end of "function_of_the_test", and never twice.
    source = directory / "suffix.c"
    source.write_text(
        "int function_of_the_test(void) {return 1;} int of_the_test(void) {return 2;}"
    )
    library = directory / "suffix.so"
    subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-s", str(source), "-o", str(library)], check=True
    )

    both = symbols(str(library), ["function_of_the_test", "of_the_test", "test"])

    assert set(both) == {"function_of_the_test", "of_the_test"}
    assert both["function_of_the_test"] != both["of_the_test"]


def test_a_file_that_changes_is_read_again(directory: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy(_compiled(directory, "-pie"), program)
    assert symbols(str(program), NAMES)

    shutil.copy(_compiled(directory, "-pie", "-s"), program)
    os.utime(program, ns=(1, 1))

    assert symbols(str(program), NAMES) == {}


def test_an_offset_without_code_is_refused(directory: Path) -> None:
    program = str(_compiled(directory, "-pie"))

    with pytest.raises(ELFError, match=r"no code is at offset 0x7000000.*Start it again"):
        load_bias(program, 0x55000000, 0x7000000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"#!/bin/sh\n", r"begins with b'#!/bin'.*Expected"),
        (b"\x7fELF\x01\x01" + bytes(100), "not an ELF file of a 64-bit"),
        (b"\x7fELF\x02\x01", r"ends within its header, 6 bytes are there and 64 were expected"),
    ],
)
def test_what_is_no_program_is_refused_with_what_was_expected(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(ELFError, match=message):
        symbols(str(path), ["main"])


def test_a_program_that_was_cut_off_says_what_is_missing(directory: Path, tmp_path: Path) -> None:
    whole = _compiled(directory, "-pie").read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(whole[:-100])

    with pytest.raises(ELFError, match=r"ends within its section headers.*cut off"):
        symbols(str(path), ["main"])


def _own_vdso() -> bytes:
    maps = Path("/proc/self/maps").read_text()
    line = re.search(r"^(\w+)-(\w+) .*\[vdso\]$", maps, re.MULTILINE)
    if line is None:
        pytest.skip("this kernel maps no vDSO")
    start, end = int(line[1], 16), int(line[2], 16)
    with open("/proc/self/mem", "rb") as memory:
        memory.seek(start)
        return memory.read(end - start)


def test_the_functions_of_the_vdso_are_found_without_its_section_headers() -> None:
    image = _own_vdso()
    # e_shoff, e_shnum: a kernel need not map what they lead to.
    blind = image[:40] + bytes(8) + image[48:60] + bytes(2) + image[62:]

    found = vdso_functions(blind)

    assert found == vdso_functions(image)
    assert found["__vdso_clock_gettime"].size > 0
    assert found["__vdso_clock_gettime"] == found["clock_gettime"]
    assert all(place > 0 and place + size <= len(image) for place, size in found.values())


@pytest.mark.parametrize("tag", [4, 0x6FFFFEF5], ids=["DT_HASH", "DT_GNU_HASH"])
def test_one_hash_table_of_the_two_that_a_vdso_may_have_is_enough(tag: int) -> None:
    image = bytearray(_own_vdso())
    found = vdso_functions(bytes(image))
    place, size = _dynamic_segment(image)
    tags = [struct.unpack_from("<Q", image, entry)[0] for entry in range(place, place + size, 16)]
    if not {4, 0x6FFFFEF5} <= set(tags):
        pytest.skip("the vDSO of this kernel has one of them only")

    struct.pack_into("<Q", image, place + 16 * tags.index(tag), 0x60000000)  # unknown to anyone

    assert vdso_functions(bytes(image)) == found


def _dynamic_segment(image: bytearray) -> tuple[int, int]:
    (table,) = struct.unpack_from("<Q", image, 32)
    for place in range(table, table + 56 * image[56], 56):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", image, place)
        if kind == 2:
            return offset, size
    pytest.fail("the vDSO has no dynamic segment")


@settings(deadline=None)
@given(st.data())
def test_a_damaged_image_is_refused_and_never_a_crash(data: st.DataObject) -> None:
    image = bytearray(_own_vdso())
    for _ in range(data.draw(st.integers(1, 8))):
        image[data.draw(st.integers(0, 0x500))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(image)))
    try:
        found = vdso_functions(bytes(image[:cut]))
    except ELFError:
        return  # any other error fails the test
    assert all(place < cut for place, _ in found.values())
