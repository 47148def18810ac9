"""Tenant facts: one line a tenant, safe whatever a tenant is called; and the limits that follow from them."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reliary import alerting, names, recording
from reliary.artifacts import Alert, Recording, RuleFile, RuleGroup, Site
from reliary.model import Budget, Stack, Tenant
from reliary.rulefile import rule_file
from reliary.yamltext import flow, to_yaml
from reliary_stack.binaries import find_tool
from support import aether

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEY = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
"""YAML lets a key have 1,024 characters, and an escape takes ten."""

TRICKY = [
    "",
    " ",
    "null",
    "true",
    "1e3",
    "0o7",
    "~",
    "- a",
    "a: b",
    "{a}",
    "#",
    '"',
    "\\",
    "\\u0041",
    "\n",
    "\x85",
    "\u2028",
]
TRICKY += ["\ufeff", "\x7f", "🚀", "é", "%", "@", "`", "!x", "&x", "*x", "<<", "=", "a\tb"]


def reread(text: str) -> Any:
    return yaml.safe_load(text)


# -- one line


@given(st.dictionaries(KEY, TEXT))
def test_a_mapping_of_texts_is_read_back_as_it_was(pairs: dict[str, str]) -> None:
    line = flow(pairs.items())
    assert reread(line) == pairs
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("text", TRICKY)
def test_text_that_yaml_could_misread_stays_text(text: str) -> None:
    assert reread(flow([(text, text)])) == {text: text}


def test_words_of_ours_are_written_without_quotes() -> None:
    assert (
        flow([("tenant_id", "acme"), ("tier", "pro"), ("on", "no")]) == '{tenant_id: "acme", tier: "pro", "on": "no"}'
    )


# -- rules


def facts(*rules: Recording) -> RuleFile:
    return RuleFile("rules/tenants.yml", "Facts", (RuleGroup("shop-tenants", 120, rules),))


RULE = st.builds(Recording, TEXT, st.from_regex(r"vector\([0-9.]+\)", fullmatch=True), st.tuples(st.tuples(KEY, TEXT)))


@settings(max_examples=50)
@given(st.lists(RULE, min_size=1, max_size=5))
def test_a_file_of_facts_says_what_the_yaml_library_would_write(rules: list[Recording]) -> None:
    rows = [{"record": rule.record, "expr": rule.expr, "labels": dict(rule.labels)} for rule in rules]
    content = {"groups": [{"name": "shop-tenants", "interval": "2m", "rules": rows}]}
    text = rule_file(facts(*rules)).text
    assert reread(text) == reread(to_yaml(content, "Facts")) == content
    assert text.count("\n") == 6 + len(rules)


def test_promtool_reads_ten_thousand_tenants_however_they_are_called(tmp_path: Path) -> None:
    stack = aether()
    many = tuple(Tenant(f"t-{number}", "T", "pro", False, (), None) for number in range(10_000))
    odd = tuple(Tenant(text, "T", "pro", False, (), None) for text in TRICKY if text.isprintable())
    path = tmp_path / "tenants.yml"
    path.write_text(rule_file(recording.facts_file(replace(stack, tenants=many + odd))).text)
    command = [find_tool("promtool").path, "check", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"{10_000 + len(odd)} rules found" in done.stdout


def test_rules_that_are_no_constants_are_written_as_before() -> None:
    text = rule_file(facts(Recording("a", "vector(1)", (("b", "c"),)), Recording("d", "sum(up)"))).text
    assert "  - record: a\n    expr: vector(1)\n    labels:\n      b: c\n" in text


# -- what is a fact


def fact_rules(stack: Stack) -> list[tuple[str, str, dict[str, str]]]:
    (group,) = recording.facts_file(stack).groups
    rules = [rule for rule in group.rules if isinstance(rule, Recording)]
    return [(rule.record, rule.expr, dict(rule.labels)) for rule in rules]


def test_each_tenant_has_one_fact_and_one_more_for_each_promise_of_its_own() -> None:
    found = [record for record, _, _ in fact_rules(aether())]
    assert found.count(names.TENANT_INFO) == len(aether().tenants)
    assert found.count(names.OBJECTIVE) == 1
    assert found.count(names.COST_BUDGET) == 2


def test_without_prices_there_are_no_budgets() -> None:
    assert names.COST_BUDGET not in {record for record, _, _ in fact_rules(replace(aether(), costs=None))}


def test_an_objective_of_its_own_is_a_fact_even_where_it_is_the_default() -> None:
    stack = aether()
    slo = stack.slos[0]
    own = replace(stack.tenants[0], objectives=((slo.name, slo.default),))
    rules = fact_rules(replace(stack, tenants=(own, *stack.tenants[1:])))
    ratio = f"vector({slo.default / 100})"
    assert (names.OBJECTIVE, ratio, {"tenant_id": own.id, "slo": slo.name}) in rules


# -- limits of spend

SPENT = {
    # tenant: its tier, its own budget, and what it spends; the tier has 100 and 300, the default is 50 and 200
    "own-fine": ("pro", "500", 499),
    "own-above": ("pro", "500", 501),
    "own-below-the-tiers": ("pro", "20", 21),
    "tier-fine": ("pro", None, 99),
    "tier-above": ("pro", None, 101),
    "default-fine": ("free", None, 49),
    "default-above": ("free", None, 51),
    "unlisted-fine": (None, None, 49),
    "unlisted-above": (None, None, 51),
}
WARNED = ["own-above", "own-below-the-tiers", "tier-above", "default-above", "unlisted-above"]


def overspent(stack: Stack, level: str) -> str:
    file = alerting.cost_file(stack, Site())
    assert file is not None
    alerts = [rule for group in file.groups for rule in group.rules if isinstance(rule, Alert)]
    return next(alert.condition for alert in alerts if dict(alert.labels)["level"] == level)


def test_the_limit_is_the_tenants_own_else_its_tiers_else_the_default(tmp_path: Path) -> None:
    """Also when facts are half an hour old, as after a restart, and when each stands there twice."""
    series = []
    for tenant, (tier, own, spent) in SPENT.items():
        who = f'tenant_id="{tenant}"'
        series.append((f"aether:estimated_cost_30d_usd{{{who}}}", spent, "x40"))
        for copy in ("a", "b"):
            if tier:
                series.append((f'tenant_info{{{who},tier="{tier}",vip="false",copy="{copy}"}}', 1, "x5"))
            if own:
                series.append((f'tenant_cost_budget_usd{{{who},level="warn",copy="{copy}"}}', own, "x5"))
    text = overspent(aether(), "warn")
    expected = [{"labels": f'{{tenant_id="{tenant}"}}', "value": 1} for tenant in WARNED]
    content = {
        "rule_files": [],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": f"{value}+0{length}"} for name, value, length in series],
                "promql_expr_test": [
                    {"expr": f"count by (tenant_id) ({text})", "eval_time": "35m", "exp_samples": expected}
                ],
            }
        ],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(content))
    done = subprocess.run([find_tool("promtool").path, "test", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_limits_of_tiers_are_constants_of_the_alert() -> None:
    assert re.findall(r"> ([0-9]+)", overspent(aether(), "warn")) == ["100", "250", "50"]
    assert re.findall(r"> ([0-9]+)", overspent(aether(), "critical")) == ["300", "1000", "200"]


def test_tiers_without_budgets_leave_the_default() -> None:
    tiers = tuple(replace(tier, budget=None) for tier in aether().tiers)
    assert names.TENANT_INFO not in overspent(replace(aether(), tiers=tiers), "warn")


def test_cents_are_kept() -> None:
    stack = aether()
    tier = replace(stack.tiers[0], budget=Budget(Decimal("0.05"), Decimal("1.50")))
    assert "> 0.05\n" in overspent(replace(stack, tiers=(tier,)), "warn")
    assert "> 1.5\n" in overspent(replace(stack, tiers=(tier,)), "critical")
