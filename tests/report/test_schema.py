"""The JSON Schema in the documentation: what it promises is what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from lab.finding import Kind, Verdict
from lab.report.json import render
from lab.report.story import Report
from lab.trace import Action
from tests.report.reports import FEW, reports
from tests.report.samples import ALL

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
FILE = Path(__file__).parents[2] / "docs/reference/report.schema.json"
SCHEMA = json.loads(FILE.read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_samples_are_as_it_says() -> None:
    VALIDATOR.validate(json.loads(render(ALL)))


@FEW
@given(reports)
def test_any_report_is_as_it_says(report: Report) -> None:
    VALIDATOR.validate(json.loads(render(report)))


@pytest.mark.parametrize("name", ["format", "results", "sources"])
def test_what_lacks_a_key_is_not(name: str) -> None:
    document = json.loads(render(ALL))
    del document[name]
    assert not VALIDATOR.is_valid(document)


def test_every_key_that_is_written_is_described() -> None:
    def described(data: Any, schema: Any) -> None:
        if "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        parts = [schema, *(SCHEMA["$defs"]["result"] for each in schema.get("allOf", ()) if each)]
        parts += [each for each in schema.get("allOf", ()) if "properties" in each]
        known = {name: kind for part in parts for name, kind in part.get("properties", {}).items()}
        for key, value in data.items() if isinstance(data, dict) and known else ():
            assert key in known
            for each in value if isinstance(value, list) else [value]:
                described(each, known[key].get("items", known[key]))

    described(json.loads(render(ALL)), SCHEMA)


def test_it_knows_every_word() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["finding"]["properties"]["kind"]["enum"] == list(Kind)
    assert definitions["result"]["properties"]["verdict"]["enum"] == list(Verdict)
    for name in ("step", "pending"):
        assert definitions[name]["properties"]["action"]["enum"] == list(Action)
