"""The package as a program under test imports it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import lab


@pytest.mark.parametrize("name", lab.__all__)
def test_every_name_that_it_promises_is_there(name: str) -> None:
    assert getattr(lab, name) is not None


def test_a_name_that_it_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lab' has no attribute 'explode'"):
        lab.explode  # type: ignore[attr-defined]  # noqa: B018


def test_importing_it_does_not_import_what_explores_and_asking_for_that_does() -> None:
    text = (
        "import sys, lab; heavy = {'lab.exploration', 'lab.run', 'lab.kernel', 'hashlib'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "assert callable(lab.explore); assert callable(lab.replay);"
        "import lab.exploration; assert callable(lab.explore)"
    )
    subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
