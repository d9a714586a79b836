"""The one cut of the architecture, and the house rules that a reader cannot check by eye.

Before a Trace lies Linux, after it pure functions: so `search`, `detect` and `report` must not
reach `run` or `kernel`, by whatever detour. Imports inside functions count as well, and so do
those for type checkers alone: a pure room has no business with the types of an impure one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PURE = ("lab.search", "lab.detect", "lab.report")
LINUX = ("lab.run", "lab.kernel")
CORE = ("lab.trace", "lab.finding", "lab.scenario")
LONGEST = 500
NAMES_OF_NO_IDEA = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}

Imports = Mapping[str, frozenset[str]]
"""For each module of a tree, the modules of the same tree that it imports."""


def source_files(*places: str) -> list[Path]:
    return sorted(path for place in places for path in (ROOT / place).rglob("*.py"))


def imports(tree: Path) -> Imports:
    """Who imports whom among the modules at and below a package."""
    files = {_module_name(path, tree.parent): path for path in tree.rglob("*.py")}
    return {
        name: frozenset(_imported(path, name)) & files.keys() - {name}
        for name, path in files.items()
    }


def _module_name(path: Path, above: Path) -> str:
    parts = path.relative_to(above).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, importer: str) -> Iterator[str]:
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    module = ast.parse(path.read_text())
    if "." not in importer:
        # The package itself is run with each of its modules, but it opens its doors to the impure
        # rooms only when somebody asks for them; what it tells type checkers nobody runs.
        module.body = [node for node in module.body if not _for_type_checkers(node)]
    for node in ast.walk(module):
        match node:
            case ast.Import(names=names):
                targets = [name.name for name in names]
            case ast.ImportFrom(module=origin, names=names, level=level):
                here = package.rsplit(".", level - 1)[0] if level else ""
                source = ".".join(part for part in (here, origin) if part)
                targets = [source, *(f"{source}.{name.name}" for name in names)]
            case _:
                continue
        for target in targets:
            # Importing a.b.c runs a and a.b first.
            parts = target.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def crossings(graph: Imports, start: tuple[str, ...], forbidden: tuple[str, ...]) -> list[str]:
    """The shortest chain of imports from each module in `start` into what is forbidden to it."""
    return [
        " -> ".join(chain)
        for module in sorted(graph)
        if _within(module, start) and (chain := _shortest(graph, module, forbidden))
    ]


def _shortest(graph: Imports, module: str, forbidden: tuple[str, ...]) -> list[str] | None:
    paths = [[module]]
    reached = {module}
    for path in paths:  # grows while it is walked: breadth first
        if _within(path[-1], forbidden):
            return path
        new = sorted(graph[path[-1]] - reached)
        reached.update(new)
        paths.extend([*path, each] for each in new)
    return None


def _within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def test_the_pure_rooms_never_reach_linux() -> None:
    graph = imports(ROOT / "lab")
    assert any(_within(module, PURE) for module in graph)
    assert crossings(graph, PURE, LINUX) == []


def test_the_pure_rooms_import_nothing_that_could_not_be_seen_here() -> None:
    dynamic = {
        name
        for path in source_files("lab")
        if _within(name := _module_name(path, ROOT), PURE)
        and {"importlib", "pkgutil", "runpy"} & set(_imported(path, name))
    }
    assert dynamic == set()


def test_the_contracts_depend_on_no_room() -> None:
    graph = imports(ROOT / "lab")
    rooms = tuple(f"lab.{path.parent.name}" for path in (ROOT / "lab").glob("*/__init__.py"))
    assert set(LINUX) < set(rooms)
    assert crossings(graph, CORE, rooms) == []


def test_only_the_kernel_room_speaks_to_the_kernel() -> None:
    speakers = {
        name
        for path in source_files("lab")
        if not _within(name := _module_name(path, ROOT), ("lab.kernel",))
        and {"ctypes", "lab.kernel.x86_64"} & set(_imported(path, name))
    }
    assert speakers == set()


def test_nothing_is_called_after_no_idea() -> None:
    names = {path.stem for path in source_files("lab", "scenarios", "tests", "benchmarks")}
    assert names & NAMES_OF_NO_IDEA == set()


def test_no_file_holds_two_ideas() -> None:
    files = source_files("lab", "scenarios", "tests", "benchmarks")
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


@pytest.mark.parametrize("path", source_files("lab"), ids=lambda path: _module_name(path, ROOT))
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "import lab.run.sandbox",
        "from lab.run import sandbox",
        "from lab.run.sandbox import Sandbox",
        "from ..run import sandbox",
        "from .. import run",
        "def late():\n    from lab.run import sandbox",
        "if TYPE_CHECKING:\n    import lab.run.sandbox",
        "from lab import between",
    ],
)
def test_a_crossing_is_found_however_it_is_written(tmp_path: Path, line: str) -> None:
    write_tree(tmp_path, {"lab/detect/zombie.py": line})
    assert crossings(imports(tmp_path / "lab"), PURE, LINUX) != []


def test_a_crossing_is_told_with_its_detour(tmp_path: Path) -> None:
    write_tree(tmp_path, {"lab/detect/zombie.py": "import lab.between"})
    assert crossings(imports(tmp_path / "lab"), PURE, LINUX) == [
        "lab.detect.zombie -> lab.between -> lab.run"
    ]


def test_what_stays_on_its_side_is_no_crossing(tmp_path: Path) -> None:
    write_tree(tmp_path, {"lab/detect/zombie.py": "from lab.trace import Trace\nimport running"})
    assert crossings(imports(tmp_path / "lab"), PURE, LINUX) == []


def write_tree(place: Path, files: Mapping[str, str]) -> None:
    tree = {
        "lab/__init__.py": "",
        "lab/trace.py": "",
        "lab/between.py": "def late():\n    import lab.run",
        "lab/run/__init__.py": "",
        "lab/run/sandbox.py": "",
        "lab/detect/__init__.py": "",
    }
    for name, text in (tree | dict(files)).items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
