"""The benchmarks are no part of the wheel, so they, and they alone, come from the checkout.

The checkout itself is not put in the path: `lab` would come from there too, and not from what is
being tested.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_PLACE = Path(__file__).resolve().parents[2] / "benchmarks"

if "benchmarks" not in sys.modules:
    _spec = importlib.util.spec_from_file_location(
        "benchmarks", _PLACE / "__init__.py", submodule_search_locations=[str(_PLACE)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    _package = importlib.util.module_from_spec(_spec)
    sys.modules["benchmarks"] = _package
    _spec.loader.exec_module(_package)
