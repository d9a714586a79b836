"""Count the tests of all tox environments; fails if there were none, or one failed."""

from __future__ import annotations

import configparser
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Print a line for each environment with tests, and the sum last."""
    total: Counter[str] = Counter()
    for environment in _environments():
        report = ROOT / ".tox" / environment / "junit.xml"
        if not report.exists():
            print(f"{environment}: not run (tox says above why: no such interpreter, or a failure)")
            continue
        counts = _counts(report)
        total += counts
        print(f"{environment}: {_line(counts)}")
    print(_line(total))
    return 0 if total["passed"] and not total["failed"] else 1


def _environments() -> list[str]:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "tox.ini")
    names = (name.strip() for name in settings["tox"]["env_list"].split(","))
    return [name for name in names if name.startswith("py")]


def _counts(report: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # our own pytest wrote it
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            counts["failed"] += 1
        elif "skipped" in outcomes:
            counts["skipped"] += 1
        else:
            counts["passed"] += 1
    return counts


def _line(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped"))


if __name__ == "__main__":
    sys.exit(main())
