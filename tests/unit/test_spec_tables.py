"""Tenants as CSV and as JSON Lines: the same tenants as from YAML, and faults with their place."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reliary.definitions.schema import TENANT_ID
from reliary.definitions.source import decoded
from reliary.definitions.spec import read_definitions
from reliary.definitions.tables import read_csv, read_jsonl
from reliary.model import Tenant
from reliary.problems import Problem

BASE = Path(__file__).parents[1] / "cases" / "base"
COSTS = "prices: {call: {counter: calls_total, usd: 0.01}}\nbudgets: {warn: 50, critical: 200}\n"

OBJECTIVES = st.dictionaries(st.just("availability"), st.sampled_from(["99.9", "99.95", "99.990"]))
BUDGETS = st.none() | st.fixed_dictionaries({"warn": st.sampled_from(["1", "2.50"]), "critical": st.just("80")})
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"]), min_size=1, max_size=20
).map(str.strip)
ROW = st.fixed_dictionaries(
    {
        "id": st.from_regex(TENANT_ID.pattern, fullmatch=True).filter(lambda text: len(text) < 100),
        "tier": st.just("pro"),
    },
    optional={"name": NAMES.filter(bool), "vip": st.booleans(), "objectives": OBJECTIVES, "budget": BUDGETS},
)
ROWS = st.lists(ROW, min_size=1, max_size=5, unique_by=lambda row: row["id"])


def definitions(folder: Path) -> Path:
    shutil.copytree(BASE, folder)
    (folder / "costs.yml").write_text(COSTS)
    (folder / "tenants.yml").write_text("tiers: {pro: {}}\n")
    return folder


def tenants(folder: Path, name: str, text: str) -> tuple[Tenant, ...]:
    (folder / name).write_bytes(text.encode())
    reading = read_definitions(folder)
    (folder / name).unlink()
    assert reading.problems == ()
    assert reading.stack is not None
    return reading.stack.tenants


def as_csv(rows: list[dict[str, object]]) -> str:
    columns = ["id", "vip", "objective.availability", "budget.critical", "name", "budget.warn", "tier"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    for row in rows:
        flat = {key: value for key, value in row.items() if key in columns}
        for group, prefix in (("objectives", "objective"), ("budget", "budget")):
            nested = row.get(group) or {}
            assert isinstance(nested, dict)
            flat |= {f"{prefix}.{key}": value for key, value in nested.items()}
        writer.writerow(flat)
    return out.getvalue()


def without_nothing(row: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in row.items() if value is not None}


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_the_three_formats_give_the_same_tenants(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    folder = definitions(tmp_path_factory.mktemp("tables") / "definitions")
    from_yaml = tenants(folder, "t.yml", yaml.safe_dump({"tenants": [without_nothing(row) for row in rows]}))
    for ascii_only in (True, False):
        lines = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
        assert tenants(folder, "t.jsonl", lines) == from_yaml
    assert tenants(folder, "t.csv", as_csv(rows)) == from_yaml
    assert tenants(folder, "t.csv", "\ufeff" + as_csv(rows).replace("\r\n", "\n\n")) == from_yaml
    shutil.rmtree(folder)


def csv_problems(text: str) -> list[tuple[str, int, int]]:
    return placed(read_csv(decoded("t.csv", text.encode())).problems)


def json_problems(text: str) -> list[tuple[str, int, int]]:
    return placed(read_jsonl(decoded("t.jsonl", text.encode())).problems)


def placed(problems: tuple[Problem, ...]) -> list[tuple[str, int, int]]:
    return [(problem.code, problem.place.line, problem.place.column) for problem in problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \n", []),
        ("id,tier\n", []),
        ("id,tier\na,b\n", []),
        ('id,tier\n"a","b"\n', []),
        ("id\na\n", [("B112", 1, 1)]),
        ("a,pro\nb,pro\n", [("B112", 1, 1)]),
        ("id,tier,id\n", [("B108", 1, 9)]),
        ("id,tier,colour,size\na,b,c,d\n", [("B110", 1, 9), ("B110", 1, 16)]),
        ("id,tier,objective\n", [("B110", 1, 9)]),
        ("id,tier\na,b,c\nd,e\nf,g,h\n", [("B104", 2, 1), ("B104", 4, 1)]),
        ('id,tier\n"a,b\nc,d\n', [("B104", 2, 1)]),
        ('id,tier\n"a"x,b\n', [("B104", 2, 1)]),
        ('"id,tier\n', [("B104", 1, 1)]),
        ("id,tier\n" + "x" * 200_000 + ",b\n", [("B104", 2, 1)]),
    ],
)
def test_faults_of_csv(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert csv_problems(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n", []),
        ('{"id": "a"}\n', []),
        ("{}\n", []),
        ('{"id": "a", "id": "b"}\n', [("B108", 1, 2)]),
        ('{"id": "a"\n{"id": "b"}\n{"id": }\n', [("B104", 1, 11), ("B104", 3, 8)]),
        ('{"id": "a"} x\n', [("B104", 1, 13)]),
        ("[" * 100_000 + "\n", [("B107", 1, 1)]),
        ('{"a":' * 100_000 + "\n", [("B107", 1, 1)]),
    ],
)
def test_faults_of_json_lines(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert json_problems(text) == expected


def test_a_cell_has_its_place_also_behind_quotes(tmp_path: Path) -> None:
    folder = definitions(tmp_path / "definitions")
    (folder / "t.csv").write_text('id,tier,name,vip\na,pro,"Smith, ""Son"", Ltd",maybe\n')
    (problem,) = read_definitions(folder).problems
    assert (problem.place.column, problem.place.width) == (29, 5)
    assert problem.place.text[28:33] == "maybe"


def test_a_value_has_the_place_of_its_key_and_not_of_a_text_that_looks_like_it(tmp_path: Path) -> None:
    folder = definitions(tmp_path / "definitions")
    (folder / "t.jsonl").write_text('{"name": "vip", "id": "a", "tier": "pro", "vip" : 2}\n')
    (problem,) = read_definitions(folder).problems
    assert problem.place.column == 43


def test_a_number_in_json_keeps_its_digits(tmp_path: Path) -> None:
    folder = definitions(tmp_path / "definitions")
    text = '{"id": 1e3, "tier": "pro", "objectives": {"availability": 99.990}}\n'
    (tenant,) = tenants(folder, "t.jsonl", text)
    assert (tenant.id, str(tenant.objectives[0][1])) == ("1e3", "99.990")


def test_words_that_yaml_takes_for_nothing_are_words_in_a_table(tmp_path: Path) -> None:
    folder = definitions(tmp_path / "definitions")
    assert [tenant.id for tenant in tenants(folder, "t.csv", "id,tier\nnull,pro\n")] == ["null"]
    assert [tenant.id for tenant in tenants(folder, "t.jsonl", '{"id": "null", "tier": "pro", "name": null}')] == [
        "null"
    ]


def test_an_unknown_slo_in_the_header_is_one_problem(tmp_path: Path) -> None:
    folder = definitions(tmp_path / "definitions")
    (folder / "t.csv").write_text("id,tier,objective.availabilty\n" + "".join(f"t{n},pro,99\n" for n in range(50)))
    (problem,) = read_definitions(folder).problems
    assert (problem.code, problem.place.line, problem.place.column) == ("B116", 1, 9)
    assert "also" not in problem.message
