"""What the benchmarks compare with and how they count: Sloth's shape, the order of a replay, encoding, cost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness import remotewrite, replay, sloth
from harness.fleet import fleet, history
from harness.replay import Span, Step
from harness.stacks import compiled, slo_groups, stack
from reliary.artifacts import Alert, Recording, RuleFile, RuleGroup
from reliary.promql import syntax_problem
from rule_cost import amortised, check_history, exponent


def test_sloth_has_17_rules_in_three_groups_for_each_tenant() -> None:
    file = sloth.sloth_file(["a", "b"], "availability", 0.999, 30)
    assert [len(group.rules) for group in file.groups] == [8, 7, 2] * 2
    rules = [rule for group in file.groups for rule in group.rules]
    assert [syntax_problem(rule.expr) for rule in rules] == [None] * 34


def test_sloth_asks_for_one_tenant_at_a_time() -> None:
    (first, *_) = sloth.sloth_file(["a"], "availability", 0.999, 30).groups[0].rules
    assert first.expr == (
        '(sum(rate(http_requests_total{tenant_id="a", code=~"5.."}[5m])))\n/\n'
        '(sum(rate(http_requests_total{tenant_id="a"}[5m])))'
    )


def test_sloths_period_is_a_mean_of_ratios() -> None:
    rule = sloth.sloth_file(["a"], "x", 0.999, 7).groups[0].rules[-1]
    assert isinstance(rule, Recording)
    assert rule.record == "slo:sli_error:ratio_rate7d"
    assert rule.expr.startswith("sum_over_time(slo:sli_error:ratio_rate5m{")
    assert "count_over_time(slo:sli_error:ratio_rate5m{" in rule.expr


GROUPS = (
    RuleGroup("slow", 120, (Recording("c", "sum_over_time(b[1d])"), Recording("d", "c + e"))),
    RuleGroup("fast", 30, (Recording("a", "sum(rate(x[5m]))"), Recording("b", "2 * a"), Recording("e", "a / 2"))),
)


def test_a_replay_evaluates_what_is_read_first() -> None:
    assert [step.rule.record for step in replay.plan(GROUPS, 0)] == ["a", "b", "e", "c", "d"]


def test_a_replay_is_dense_only_where_a_range_reads() -> None:
    seconds = {step.rule.record: step.seconds for step in replay.plan(GROUPS, 600)}
    assert seconds == {"a": 30, "b": 30, "c": 600, "d": 600, "e": 600}


def test_rules_that_read_each_other_are_refused() -> None:
    circle = (RuleGroup("g", 30, (Recording("a", "b"), Recording("b", "a"))),)
    with pytest.raises(RuntimeError, match="circle"):
        replay.plan(circle, 0)


def test_a_step_runs_at_its_phase() -> None:
    step = Step(Recording("a", "1"), seconds=30, phase=7)
    assert step.times(Span(1000, 1070)).tolist() == [1007, 1037, 1067]


def test_a_series_that_stops_gets_one_stale_marker() -> None:
    times = np.arange(0, 150, 30)
    there = np.array([True, True, False, False, True])
    _, stamps, values = replay._recorded({"__name__": "a"}, times, there, np.arange(5.0))
    assert stamps.tolist() == [0, 30_000, 60_000, 120_000]
    assert values.view(np.uint64)[2] == 0x7FF0000000000002
    assert values[[0, 1, 3]].tolist() == [0.0, 1.0, 4.0]


def test_a_sample_is_encoded_as_protobuf() -> None:
    message = remotewrite._time_series({"a": "b"}, np.array([1_735_689_600_000]), np.array([1.0]))
    label = bytes([0x0A, 6, 0x0A, 1, ord("a"), 0x12, 1, ord("b")])
    varint = bytes([0x80, 0xF8, 0xA5, 0xF9, 0xC1, 0x32])
    sample = bytes([0x12, 16, 0x09, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0x10]) + varint
    assert message == bytes([0x0A, len(label + sample)]) + label + sample
    assert sum((byte & 0x7F) << 7 * at for at, byte in enumerate(varint)) == 1_735_689_600_000


def test_a_slow_group_counts_by_how_often_it_runs() -> None:
    files = (RuleFile("f", "", (RuleGroup("fast", 30, ()), RuleGroup("slow", 120, ()))),)
    assert amortised(files, {"fast": 1.0, "slow": 1.0}) == pytest.approx((1 + 0.25) / 2)
    assert amortised(files, {"fast": 3.0, "slow": 1.0}) == pytest.approx((3 + 0.25) / 4)


def test_the_exponent_of_a_square_is_two() -> None:
    assert exponent([100, 300, 1000], [1e4, 9e4, 1e6]) == pytest.approx(2)


def test_the_fleet_has_a_past_for_every_series_that_rules_read_over_a_range() -> None:
    check_history(compiled(stack(["a"], [("availability", "99.9", "30d")])))


def test_rules_without_a_past_are_not_measured() -> None:
    group = RuleGroup("g", 30, (Recording("other", "vector(1)"), Recording("a", "sum_over_time(other[1d])")))
    with pytest.raises(RuntimeError, match="other"):
        check_history((RuleFile("f", "", (group,)),))


def test_recorded_history_is_that_of_the_counters() -> None:
    (one,) = fleet(1, seed=1)
    series = {
        (labels["__name__"], labels.get("code"), labels.get("instance")): (times, values)
        for labels, times, values in history([one], 1_735_689_600, 0.5, 60, seed=1)
    }
    raw = sum(values for (name, *_), (_, values) in series.items() if name == "http_requests_total")
    times, rates = series["tenant_slo:total:rate5m", None, None]
    assert times[-1] == 1_735_689_570_000
    at = len(times) - 1
    assert rates[at] * 300 == pytest.approx(raw[at] - raw[at - 10])
    tile_times, tiles = series["tenant_slo:total:sum5m", None, None]
    assert tiles[-1] == pytest.approx(rates[: list(times).index(tile_times[-1]) + 1][-10:].sum())


def test_only_groups_that_measure_tenants_are_replayed() -> None:
    groups = slo_groups(compiled(stack(["a"], [("availability", "99.9", "7d")])))
    names = {group.name for group in groups}
    assert "bench-slo-availability-fast" in names
    assert "bench-meta" not in names
    alerts = [rule for group in groups for rule in group.rules if isinstance(rule, Alert)]
    assert len(alerts) == 4
    assert not any(math.isnan(rule.for_seconds) for rule in alerts)
