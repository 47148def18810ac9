"""What is published about definitions is true: the JSON Schema and the list of checks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from reliary.definitions.schema import json_schema

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "definitions.schema.json"
EXAMPLE = sorted((ROOT / "examples" / "aether").glob("*.yml"))
CODE = re.compile(r"\bB[1-9][0-9]{2}\b")


def published() -> Any:
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


def faults(text: str) -> list[str]:
    return [error.json_path for error in jsonschema.Draft202012Validator(published()).iter_errors(yaml.safe_load(text))]


def test_the_published_schema_is_current() -> None:
    """To write it anew: `reliary schema > docs/definitions.schema.json`."""
    assert SCHEMA.read_text(encoding="utf-8") == json.dumps(json_schema(), indent=2) + "\n"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(published())


@pytest.mark.parametrize("path", EXAMPLE, ids=lambda path: path.name)
def test_the_example_is_valid(path: Path) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests/cases/base").glob("*.yml")), ids=lambda path: path.name)
def test_the_base_of_the_cases_is_valid(path: Path) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("teirs: {}", "$"),
        ("tenants: [{id: acme, teir: pro}]", "$.tenants[0]"),
        ("tenants: [{id: 'a b', tier: pro}]", "$.tenants[0].id"),
        ("tenants: [{id: acme, tier: pro, vip: maybe}]", "$.tenants[0].vip"),
        ("slos: {a: {bad: x, total: y, objective: 100, window: 30d}}", "$.slos.a.objective"),
        ("slos: {a: {bad: x, total: y, objective: 99, window: 30 days}}", "$.slos.a.window"),
        ("slos: {A: {bad: x, total: y, objective: 99, window: 30d}}", "$.slos"),
        ("routes: [{to: ops, tenants: 'vip-.*'}]", "$.routes[0].tenants"),
        ("receivers: {ops: {pagerduty: {routing_key: abc}}}", "$.receivers.ops.pagerduty"),
        ("thresholds: {A: {when: a < b, for: 5m, severity: general, summary: s}}", "$.thresholds.A.when"),
        ("runbook_base_url: ftp://x", "$.runbook_base_url"),
    ],
)
def test_an_editor_underlines_what_the_reader_refuses(text: str, where: str) -> None:
    assert set(faults(text)) == {where}


def test_a_single_value_may_stand_for_a_list_of_one() -> None:
    assert faults("services: {a: {scrape: 'a:8000', probe: 'http://a/'}}") == []


@pytest.mark.parametrize("pattern", sorted(set(re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', SCHEMA.read_text()))))
def test_patterns_are_those_of_browsers_too(pattern: str) -> None:
    """Editors use JavaScript's expressions: no (?s), no (?P<…>), no \\Z, and no escape that `u` mode refuses."""
    text = json.loads(f'"{pattern}"')
    assert not re.search(r"\(\?[^:!=]", text)
    assert set(re.findall(r"\\(.)", text)) <= set("[].x0123456789sdw")


def test_every_key_is_explained() -> None:
    def keys(shape: Any) -> list[tuple[str, Any]]:
        found = list(shape.get("properties", {}).items()) if isinstance(shape, dict) else []
        inner = shape.values() if isinstance(shape, dict) else shape if isinstance(shape, list) else ()
        return found + [pair for child in inner for pair in keys(child)]

    assert len(keys(published())) > 60
    assert [name for name, shape in keys(published()) if not shape.get("description")] == []


# -- docs/checks.md


def documented() -> list[str]:
    return re.findall(r"^\| (B\d{3}) \|", (ROOT / "docs" / "checks.md").read_text(), flags=re.MULTILINE)


def used() -> set[str]:
    sources = [path for folder in ("generator", "exporter", "stack") for path in (ROOT / folder).rglob("*.py")]
    return {code for path in sources for code in CODE.findall(path.read_text(encoding="utf-8"))}


def test_every_code_is_documented_once_and_in_order() -> None:
    assert documented() == sorted(set(documented()))
    assert set(documented()) == used()


def test_every_row_has_a_meaning_and_a_next_step() -> None:
    rows = re.findall(
        r"^\| B\d{3} \|(.*)\|(.*)\|(.*)\|$", (ROOT / "docs" / "checks.md").read_text(), flags=re.MULTILINE
    )
    assert len(rows) == len(documented())
    assert all(meaning.strip() and advice.strip() for meaning, _, advice in rows)


def test_every_code_of_definitions_has_a_case() -> None:
    reports = (ROOT / "tests" / "cases").glob("*/expect/report.txt")
    shown = {code for report in reports for code in CODE.findall(report.read_text(encoding="utf-8"))}
    assert {code for code in documented() if code.startswith("B1")} <= shown
