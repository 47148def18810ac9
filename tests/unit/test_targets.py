"""Targets: what holds for all of them, and what is read from rules to divide them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from reliary.artifacts import Recording, RuleFile, RuleGroup, Site
from reliary.compile import compile_stack, rules
from reliary.dependencies import Writers, reads
from reliary.emit import write_build
from reliary.model import Stack, Tenant
from reliary.rulefile import rule_file
from reliary.targets import TARGETS, Target, target_files
from reliary.targets.folding import FOLDED, folded
from reliary.targets.rules import group_values
from reliary.targets.splitting import split
from reliary_stack.binaries import find_tool
from support import aether

RELEASE = "5f" * 32


def with_tenants(stack: Stack, count: int) -> Stack:
    names = [f"tenant-{number:05}" for number in range(count)]
    tiers = [tier.name for tier in stack.tiers]
    more = tuple(Tenant(name, name, tiers[place % len(tiers)], False, (), None) for place, name in enumerate(names))
    return replace(stack, tenants=(*stack.tenants, *more))


def promtool(folder: Path, *words: str) -> str:
    """What promtool says; the test fails when it refuses."""
    done = subprocess.run([find_tool("promtool").path, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- all targets


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_the_same_bytes_each_time_and_in_a_folder_of_its_own(target: Target) -> None:
    stack, site = aether(), Site()
    once = target_files(target, stack, site, RELEASE, rules(stack, site))
    again = target_files(target, aether(), Site(), RELEASE, rules(aether(), Site()))
    assert once == again
    assert all(file.path.startswith(f"{target}/") for file in once.files)
    assert len({file.path for file in once.files}) == len(once.files)


def test_a_build_takes_the_files_of_every_target(tmp_path: Path) -> None:
    stack, site = aether(), Site()
    more = [file for target in TARGETS for file in target_files(target, stack, site, RELEASE, rules(stack, site)).files]
    write_build((*compile_stack(stack, site, RELEASE), *more), RELEASE, tmp_path / "build")
    assert (tmp_path / "build" / "operator" / "kustomization.yaml").is_file()


def test_for_prometheus_a_build_is_complete_as_it_is() -> None:
    stack = aether()
    assert target_files("prometheus", stack, Site(), RELEASE, rules(stack, Site())).files == ()


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "prometheus"])
def test_no_rule_is_lost_or_changed_on_the_way_to(target: Target) -> None:
    stack, site = replace(aether(), shards=2), Site()
    files = target_files(target, stack, site, RELEASE, rules(stack, site)).files
    found = [yaml.safe_load(file.text) for file in files if "/rules/" in file.path]
    groups = [group for file in found for group in file.get("spec", file)["groups"]]
    compiled = [yaml.safe_load(rule_file(file).text)["groups"] for file in rules(stack, site)]
    assert [rule for group in groups for rule in group["rules"]] == [
        rule for file in compiled for group in file for rule in group["rules"]
    ]
    assert {group["interval"] for group in groups} == {group["interval"] for file in compiled for group in file}


def test_groups_as_values_are_what_a_rule_file_says() -> None:
    stack = aether()
    for file in rules(stack, Site()):
        written = yaml.safe_load(rule_file(file).text)["groups"]
        assert [group_values(group) for group in file.groups] == written


# -- what a rule reads


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("a", [("a", 0)]),
        ("rate(a[5m])", [("a", 300)]),
        ("sum_over_time(a[5m] offset 1h)", [("a", 3900)]),
        ("max_over_time((a + b)[1h:5m])", [("a", 3600), ("b", 3600)]),
        ("topk by (t) (scalar(c), -a)", [("a", 0), ("c", 0)]),
        ('{__name__="a"} unless on (t) b', [("a", 0), ("b", 0)]),
        ("clamp_max(a / (b > 0), 1) or on () vector(time())", [("a", 0), ("b", 0)]),
        ("a + a", [("a", 0)]),
        ("vector(1)", []),
    ],
)
def test_what_an_expression_reads_and_how_far_back(expr: str, expected: list[tuple[str, int]]) -> None:
    assert [(read.name, read.back_seconds) for read in reads(expr)] == expected


@pytest.mark.parametrize(
    ("expr", "writers"),
    [
        ("a", {0, 1}),
        ('a{slo="x"}', {0}),
        ('a{slo!="x"}', {1}),
        ('a{slo=~"x|z"}', {0}),
        ('a{slo!~"x|z"}', {1}),
        ('a{tenant_id="t"}', {0, 1}),  # comes from data: may be anything
        ("b", {2}),
        ('{slo="x"}', {0, 2}),  # c has no label of that name, so data may give it one
        ('ALERTS{alertname="N"}', set()),
    ],
)
def test_which_rules_write_what_is_read(expr: str, writers: set[int]) -> None:
    known = [
        Recording("a", "vector(1)", (("slo", "x"),)),
        Recording("a", "vector(1)", (("slo", "y"),)),
        Recording("b", "vector(1)"),
    ]
    assert set().union(*(Writers(known).of(read) for read in reads(expr))) == writers


def test_a_matcher_on_thousands_of_tenants_is_read_all_the_same() -> None:
    """The parser compiles regular expressions and gives up on large ones, which Prometheus takes."""
    names = "|".join(f"tenant-{number:05}" for number in range(30_000))
    (read,) = reads(f'sum_over_time(a{{slo="x",tenant_id=~"{names}"}}[5m])')
    assert (read.name, read.back_seconds) == ("a", 300)
    assert ("slo", "=", "x") in read.matchers


def test_alerts_write_series_too() -> None:
    stack = aether()
    every = [rule for file in rules(stack, Site()) for group in file.groups for rule in group.rules]
    firing = reads('ALERTS{alertname="SloBudgetBurn"}')[0]
    found = [every[place] for place in Writers(every).of(firing)]
    assert found
    assert {getattr(rule, "alert", "") for rule in found} == {"SloBudgetBurn"}


# -- dividing a group


def group(*rules: tuple[str, str], interval: int = 30) -> RuleGroup:
    return RuleGroup("g", interval, tuple(Recording(name, expr) for name, expr in rules))


def records(parts: tuple[RuleGroup, ...]) -> list[list[str]]:
    return [[rule.record for rule in part.rules if isinstance(rule, Recording)] for part in parts]


def test_a_group_within_the_limit_stays_as_it_is() -> None:
    whole = group(("a", "x"), ("b", "a"))
    assert split(whole, 2) == (whole,)


def test_rules_that_do_not_need_each_other_are_divided_in_their_order() -> None:
    parts = split(group(("a", "x"), ("b", "x"), ("c", "x")), 2)
    assert records(parts) == [["a", "b"], ["c"]]
    assert [part.name for part in parts] == ["g", "g-2"]
    assert {part.interval_seconds for part in parts} == {30}


def test_a_rule_stays_with_the_one_whose_newest_value_it_reads() -> None:
    parts = split(group(("a", "x"), ("b", "x"), ("c", "a + 1"), ("d", "x")), 2)
    assert records(parts) == [["a", "c"], ["b", "d"]]


def test_rules_tied_in_a_row_are_one_part_even_above_the_limit() -> None:
    chained = group(("a", "x"), ("b", "a"), ("c", "rate(b[2m])"), ("d", "x"))
    assert records(split(chained, 2)) == [["a", "b", "c"], ["d"]]


def test_a_rule_that_looks_back_over_ten_evaluations_may_go_elsewhere() -> None:
    assert records(split(group(("a", "x"), ("b", "sum_over_time(a[5m])")), 1)) == [["a"], ["b"]]
    assert records(split(group(("a", "x"), ("b", "sum_over_time(a[4m])")), 1)) == [["a", "b"]]


# -- constants taken together


def test_folded_constants_are_the_same_series(tmp_path: Path) -> None:
    odd = ['quote " and \\ backslash', "dollar $1 $$ ${x}", "Käse\nzweite Zeile", "plain", "tenant_id"]
    labels = [(("tenant_id", name), ("tier", "pro")) for name in odd]
    single = [Recording("tenant_info", "vector(1)", pairs) for pairs in labels]
    single += [Recording("limit", "vector(0.25)", (("tenant_id", name),)) for name in odd[:2]]
    together = folded(single)
    assert [rule.record for rule in together if isinstance(rule, Recording)] == ["tenant_info", "limit"]
    for name, content in (("single", tuple(single)), ("folded", together)):
        file = rule_file(RuleFile("", "about", (RuleGroup("g", 60, content),)))
        (tmp_path / f"{name}.yml").write_text(file.text, encoding="utf-8")
        expected = [
            {"labels": f'tenant_info{{tenant_id={yaml_quoted(tenant)},tier="pro"}}', "value": 1} for tenant in odd
        ]
        limits = [{"labels": f"limit{{tenant_id={yaml_quoted(tenant)}}}", "value": 0.25} for tenant in odd[:2]]
        cases = [
            {"expr": "tenant_info", "eval_time": "2m", "exp_samples": expected},
            {"expr": "limit", "eval_time": "2m", "exp_samples": limits},
        ]
        test = {"rule_files": [f"{name}.yml"], "tests": [{"interval": "1m", "promql_expr_test": cases}]}
        (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
        promtool(tmp_path, "test", "rules", "test.yml")


def yaml_quoted(text: str) -> str:
    from reliary.promql import quoted

    return quoted(text)


def test_only_constants_of_one_name_and_one_slo_are_folded() -> None:
    def constant(record: str, tenant: str, *more: tuple[str, str]) -> Recording:
        return Recording(record, "vector(1)", (("tenant_id", tenant), *more))

    computed = Recording("a", "sum(b)", (("tenant_id", "x"),))
    objectives = [constant("o", name, ("slo", slo)) for slo in ("s", "t") for name in ("x", "y")]
    found = folded([constant("a", "x"), computed, constant("a", "y"), *objectives])
    assert len(found) == 5
    assert found[1] == computed
    assert [rule.labels for rule in found[3:]] == [(("slo", "s"),), (("slo", "t"),)]


def test_a_fold_has_a_bound() -> None:
    many = [Recording("a", "vector(1)", (("t", str(number)),)) for number in range(2 * FOLDED + 1)]
    assert [rule.expr.count("vector(1)") for rule in folded(many)] == [FOLDED, FOLDED, 1]
