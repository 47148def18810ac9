"""The plan of a backfill: which rules, in which order, at which intervals, and what gets no past."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from reliary.artifacts import Alert, Recording, RuleFile, RuleGroup, Site
from reliary.backfill import LARGEST_BLOCK_SECONDS, POINTS, STEPS, Plan, Stage, block_seconds, plan
from reliary.compile import rules
from reliary.dependencies import Writers, reads
from reliary.guards import Unguarded
from reliary.model import Calendar, Composite, Latency, Selector, Stack, Tenant
from support import aether
from unit.test_targets import promtool

HOUR = 3600


def files(*groups: tuple[int, list[Recording | Alert]]) -> tuple[RuleFile, ...]:
    return tuple(
        RuleFile(f"rules/{place}.yml", "", (RuleGroup(f"g{place}", interval, tuple(content)),))
        for place, (interval, content) in enumerate(groups)
    )


def rule(record: str, expr: str, **labels: str) -> Recording:
    return Recording(record, expr, tuple(labels.items()))


def alert(name: str, expr: str) -> Alert:
    return Alert(name, expr, Unguarded("test"), (), 0, (), ())


def shape(found: Plan) -> list[list[tuple[str, int]]]:
    return [[(each.record, interval) for each, interval in stage.rules] for stage in found.stages]


FAST = [rule("total", "rate(raw[5m])", slo="s"), rule("bad", 'rate(err[5m]) or 0 * total{slo="s"}', slo="s")]
TILE = [rule("tile", 'sum_over_time(bad{slo="s"}[5m])', slo="s")]
SLOW = [rule("used", 'sum_over_time(tile{slo="s"}[30d]) / budget{slo="s"}', slo="s")]
FACTS = [rule("budget", "vector(0.001)", slo="s"), rule("budget", "vector(0.002)", slo="other")]
CLASS = files((30, FAST), (300, TILE), (120, SLOW), (60, FACTS))


# -- order


def test_only_what_rules_look_back_on_comes_after_what_it_is_made_of() -> None:
    found = plan(CLASS, "s")
    assert shape(found) == [[("total", 30)], [("bad", 30)], [("tile", 300)]]
    assert [stage.number for stage in found.stages] == [1, 2, 3]


def test_constants_need_no_past_of_their_own_even_where_a_rule_looks_back_on_them() -> None:
    patient = files((30, FAST), (60, [*FACTS, rule("used", "sum_over_time(bad[1h]) / last_over_time(budget[1h])")]))
    assert shape(plan(patient)) == [[("total", 30)], [("bad", 30)]]
    compiled = plan(rules(aether(), Site()), "availability")
    assert "tenant_slo_objective_ratio" not in {name for stage in compiled.stages for name in stage.writes}


def test_with_history_all_rules_of_the_slo_have_a_past_each_at_its_own_interval() -> None:
    assert shape(plan(CLASS, "s", history=True)) == [
        [("total", 30)],
        [("bad", 30)],
        [("budget", 60), ("tile", 300)],
        [("used", 120)],
    ]


def test_facts_of_other_slos_are_not_touched() -> None:
    stages = plan(CLASS, "s", history=True).stages
    (budget,) = [each for stage in stages for each, _ in stage.rules if each.record == "budget"]
    assert budget == FACTS[0]


def test_the_order_does_not_depend_on_the_order_of_files() -> None:
    assert shape(plan(CLASS[::-1], "s")) == shape(plan(CLASS, "s"))


def test_the_past_is_of_use_as_far_as_the_longest_range_that_reads_it() -> None:
    assert plan(CLASS, "s").back_seconds == 30 * 24 * HOUR


def test_what_is_scraped_is_what_no_rule_records() -> None:
    assert [read.selector for read in plan(CLASS, "s").raw] == ["raw", "err"]


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("slo", [None, "availability", "latency"])
def test_in_a_compiled_stack_each_stage_reads_only_what_is_scraped_or_written_before(
    slo: str | None, shards: int, history: bool
) -> None:
    stack = replace(aether(), shards=shards, slos=tuple(everything(aether())))
    compiled = rules(stack, Site())
    every = [each for file in compiled for group in file.groups for each in group.rules]
    found = plan(compiled, slo, history=history)
    assert found.stages
    written: list[Recording] = []
    for stage in found.stages:
        now = [each for each, _ in stage.rules]
        for each in now:
            for read in reads(each.expr):
                assert not Writers(now).of(read), f"{each.record} reads {read.selector} of its own stage"
                if Writers(every).of(read):
                    assert Writers(written).of(read), f"{each.record} reads {read.selector}, which comes later"
        written += now


def everything(stack: Stack) -> list[object]:
    """The SLOs of the example, one of them by the calendar, the other with a bound for each tier."""
    first, second = stack.slos
    assert isinstance(second.source, Latency)
    by_tier = replace(second.source, by_tier=(("pro", Decimal("0.5")),))
    return [replace(first, calendar=Calendar("month", "Europe/Berlin")), replace(second, source=by_tier)]


def test_a_composite_needs_the_past_of_its_parts() -> None:
    composite = Composite("checkout", "", ("availability", "latency"), "platform")
    found = plan(rules(replace(aether(), composites=(composite,)), Site()), "checkout", history=True)
    slos = {
        value for stage in found.stages for each, _ in stage.rules for label, value in each.labels if label == "slo"
    }
    assert slos == {"checkout", "availability", "latency"}
    last = found.stages[-1].rules
    assert ("slo", "checkout") in last[-1][0].labels


# -- files


def test_promtool_takes_the_file_of_every_stage(tmp_path: Path) -> None:
    found = plan(rules(aether(), Site()), history=True)
    for stage in found.stages:
        (tmp_path / f"{stage.number}.yml").write_text(stage.file().text)
    promtool(tmp_path, "check", "rules", *(path.name for path in sorted(tmp_path.iterdir())))


def test_stages_are_evaluated_at_the_same_instants_because_names_are_the_same() -> None:
    found = plan(CLASS, "s")
    names = {group.name for stage in found.stages for group in stage.groups if group.interval_seconds == 30}
    assert names == {"every-30s"}
    assert {stage.file().path.rpartition("/")[2] for stage in found.stages} == {"rules.yml"}


def test_a_file_without_rules_that_are_there_already_has_no_empty_group() -> None:
    (stage,) = [stage for stage in plan(CLASS, "s", history=True).stages if len(stage.groups) == 2]
    left = yaml.safe_load(stage.file([FACTS[0]] if FACTS[0] in [each for each, _ in stage.rules] else []).text)
    assert [group["name"] for group in left["groups"]] == ["every-5m"]


def test_facts_of_many_tenants_are_few_rules() -> None:
    stack = aether()
    more = tuple(Tenant(f"t{number}", "T", "pro", False, (), None) for number in range(2000))
    found = plan(rules(replace(stack, tenants=more), Site()), "latency", history=True)
    assert sum(len(stage.rules) for stage in found.stages) < 60


# -- left out


def test_what_has_no_past_says_why() -> None:
    found = plan(
        files(
            (30, [*FAST, alert("Burns", "bad > 1"), rule("state", 'ALERTS{alertname="Burns"} or bad', slo="s")]),
            (60, [rule("after", "state + 1", slo="s"), rule("all", "sum(bad)")]),
            (300, TILE),
        ),
        "s",
        history=True,
    )
    assert dict(found.left_out) == {
        "Burns": "alerts have no past: `for` begins when the rule is loaded",
        "state": "it reads ALERTS, which only a running Prometheus writes",
        "after": "it reads state, which is left out",
        "all": "its rule records it from now on, from what is filled in",
    }
    assert not {"state", "after", "all"} & {name for stage in found.stages for name in stage.writes}


def test_rules_that_read_themselves_are_left_out_and_do_not_hang() -> None:
    circle = [rule("a", "b offset 1m"), rule("b", "a + raw"), rule("c", "sum_over_time(a[1h])"), rule("d", "raw")]
    found = plan(files((30, circle)), history=True)
    assert shape(found) == [[("d", 30)]]
    reasons = dict(found.left_out)
    assert reasons["a"] == reasons["b"] == "it reads its own output"
    assert reasons["c"] == "it reads a, which is left out"


def test_rules_of_which_nothing_looks_back_need_no_plan() -> None:
    assert plan(files((30, [rule("a", "raw"), rule("b", "a")]))).stages == ()


# -- blocks


@pytest.mark.parametrize("interval", [1, 15, 30, 120, 300])
@pytest.mark.parametrize("series", [0, 1, 100, 5000, 100_000])
def test_a_block_is_one_of_prometheus_s_sizes_and_its_query_within_the_limits(series: int, interval: int) -> None:
    size = block_seconds(series, interval)
    assert size in {2 * HOUR * 3**power for power in range(4)}
    assert size <= LARGEST_BLOCK_SECONDS
    if size > 2 * HOUR:
        assert size / interval <= STEPS
        assert series * size / interval <= POINTS


def test_few_series_get_large_blocks_and_many_small_ones() -> None:
    assert block_seconds(10, 30) == 54 * HOUR
    assert block_seconds(10_000, 30) == 2 * HOUR


def test_a_stage_names_what_it_writes_once() -> None:
    stage = Stage(1, (RuleGroup("g", 30, (rule("a", "x", t="1"), rule("a", "y", t="2"))),), ("x", "y"))
    assert stage.writes == ("a",)


def test_selectors_are_part_of_what_is_read() -> None:
    stack = replace(aether(), slos=aether().slos[:1])
    source = stack.slos[0].source
    bad = getattr(source, "counted", None)
    assert isinstance(bad, Selector)
    assert plan(rules(stack, Site()), "availability").raw[1].selector == bad.text
