"""What machine code tells of the functions that it calls."""

from __future__ import annotations

from lab.kernel.x86_64.functions import called, is_return_address

HERE = 0x1000
FUNCTION = 0x7F0000001234
STUB, SLOT = 0x3000, 0x5000


def _memory(stub: bytes, slot: int = FUNCTION) -> dict[int, bytes]:
    return {STUB: stub.ljust(16, b"\x90"), SLOT: slot.to_bytes(8, "little")}


def _distance(start: int, length: int, target: int) -> bytes:
    return (target - start - length).to_bytes(4, "little", signed=True)


def _called(code: bytes, memory: dict[int, bytes]) -> list[int]:
    return list(called(code, HERE, lambda address, size: memory.get(address, b"")[:size]))


def test_a_call_names_its_function() -> None:
    code = b"\x90\xe8" + _distance(HERE + 1, 5, STUB) + b"\xc3"

    assert _called(code, {})[:1] == [STUB]


def test_a_call_through_the_linkage_table_leads_to_what_it_is_bound_to() -> None:
    code = b"\xe8" + _distance(HERE, 5, STUB)
    for start in (b"", b"\xf3\x0f\x1e\xfa", b"\xf3\x0f\x1e\xfa\xf2"):
        jump = start + b"\xff\x25" + _distance(STUB + len(start), 6, SLOT)

        assert _called(code, _memory(jump)) == [STUB, FUNCTION]


def test_a_call_through_a_pointer_leads_to_where_it_points() -> None:
    code = b"\xff\x15" + _distance(HERE, 6, SLOT)

    assert _called(code, _memory(b"")) == [FUNCTION]


def test_what_only_looks_like_a_call_leads_nowhere() -> None:
    assert _called(b"\xe8\xff\xff", {}) == []
    assert FUNCTION not in _called(b"\xe8\x01\x02\x03\x04\xff\x15\x01\x02\x03\x04", {})


def test_a_return_address_comes_after_a_call() -> None:
    assert is_return_address(b"\x90\xe8\0\0\0\0")
    assert is_return_address(b"\xff\x15\0\0\0\0")
    assert not is_return_address(b"\x90\x90\x90\x90\x90\x90")
    assert not is_return_address(b"")
