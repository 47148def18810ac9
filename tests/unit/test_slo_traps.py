"""The ways in which known SLO generators count wrongly, each as a trap that ours must not fall into.

The numbers are those of the list of traps in the research on other tools. Values are read from a real rule engine
(promtool) that runs what is compiled from a small stack.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from reliary import windows
from reliary.artifacts import Alert, Recording, RuleFile, Site
from reliary.compile import compile_stack, rules
from reliary.definitions.spec import read_definitions
from reliary.model import Stack
from reliary_stack.binaries import find_tool
from slolab import Lab, define, lab, labels, stack_from
from support import AETHER, ROOT, stack_of

LCOPILOT = ROOT / "examples" / "lcopilot"
OURS = '{__name__=~"(tenant_|tier_)?slo:.+"}'
ACME = labels(tenant_id="acme", slo="availability")
TENANTS = """
tiers:
  pro: {description: Paid plan}
tenants:
  - {id: acme, tier: pro}
  - {id: globex, tier: pro}
"""
LATENCY = """
slos:
  latency: {histogram: request_seconds, within: 1s, objective: 95, window: 30d}
"""


def slo(body: str, objective: str = "99.9", window: str = "30d", counted: str = "bad") -> str:
    """An SLO class `availability` of plain counters, with more lines."""
    counter = {"bad": 'http_requests_total{code=~"5.."}', "good": 'http_requests_total{code!~"5.."}'}[counted]
    return (
        f"slos:\n  availability:\n    {counted}: {counter}\n    total: http_requests_total\n"
        f"    objective: {objective}\n    window: {window}\n    {body}\n"
    )


def requests(code: int, tenant: str = "acme") -> str:
    return f'http_requests_total{{tenant_id="{tenant}",code="{code}"}}'


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Availability of 99.9 % over 30 days, with the alerts of the table."""
    return lab(tmp_path_factory.mktemp("plain"), tenants=TENANTS)


def compiled(stack: Stack) -> dict[str, str]:
    return {file.path: file.text for file in compile_stack(stack, Site(), "test")}


def all_rules(stack: Stack) -> Iterator[Recording | Alert]:
    for file in rules(stack, Site()):
        for group in file.groups:
            yield from group.rules


def expressions(stack: Stack) -> list[str]:
    """Every expression of the rules, as Prometheus reads it."""
    parsed = [yaml.safe_load(text) for path, text in compiled(stack).items() if path.startswith("rules/")]
    return [rule["expr"] for file in parsed for group in file["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module", params=["aether", "lcopilot"])
def example(request: pytest.FixtureRequest) -> Stack:
    return stack_of(ROOT / "examples" / request.param)


# -- 1, 2, 3: what a budget is made of


def test_trap_1_a_quiet_hour_does_not_weigh_as_much_as_a_busy_one(plain: Lab) -> None:
    """100 minutes at 10,000/s clean, then 20 at 1/s that all fail: 1,200 of 60,001,200, not 13 %."""
    traffic = {requests(200): "0+600000x100 60000000+0x60", requests(500): "0+0x100 0+60x20 1200+0x40"}
    truth = 1200 / 60_001_200 / 0.001
    over_the_window, over_six_hours = plain.observe(
        traffic, "150m", "tenant_slo:error_budget_consumed:ratio", "tenant_slo:burn_rate:6h"
    )
    assert over_the_window[ACME] == pytest.approx(truth, rel=0.02)
    assert over_six_hours[ACME] == pytest.approx(truth, rel=0.02)


def test_trap_2_idle_time_poisons_nothing(plain: Lab) -> None:
    """0/0 is never recorded: a sum over 30 days would keep one NaN for 30 days."""
    traffic = {requests(200): "0+99x60 5940+0x40 5940+99x60", requests(500): "0+1x60 60+0x40 60+1x60"}
    nan = f"count({OURS}) - count({OURS} > -Inf)"
    for at in ("90m", "110m", "150m"):
        assert plain.value(traffic, at, nan) == 0
    consumed = plain.value(traffic, "150m", "tenant_slo:error_budget_consumed:ratio")
    assert consumed == pytest.approx(0.01 / 0.001, rel=0.02)


def test_trap_2_a_sample_that_is_no_number_poisons_nothing(plain: Lab) -> None:
    """A broken exporter that says NaN once costs minutes and not the month."""
    traffic = {requests(200): "0+100x30 NaN 3100+100x60", requests(500): "0+0x120"}
    consumed, not_numbers = plain.observe(
        traffic, "80m", "tenant_slo:error_budget_consumed:ratio", f"count({OURS}) - count({OURS} > -Inf)"
    )
    assert consumed[ACME] == 0
    assert set(not_numbers.values()) == {0}


def test_trap_3_a_service_that_never_failed_has_its_whole_budget(plain: Lab) -> None:
    """There is no series of errors at all."""
    remaining, burn, state = plain.observe(
        {requests(200): "0+10000x120"},
        "2h",
        "tenant_slo:error_budget_remaining:ratio",
        "tenant_slo:burn_rate:1h",
        'tenant_slo:state:code{tenant_id="acme"}',
    )
    assert (remaining[ACME], burn[ACME], state[ACME]) == (1, 0, 0)


def test_trap_3_a_service_whose_only_series_are_errors_is_seen_to_fail(plain: Lab) -> None:
    burn = plain.value({requests(500): "0+10000x120"}, "2h", "tenant_slo:burn_rate:1h")
    assert burn == pytest.approx(1000)


# -- 4, 5: few events


def test_trap_4_the_error_that_creates_its_counter_is_lost_and_the_next_one_is_not(plain: Lab) -> None:
    """Prometheus sees no growth in a first sample; a client that exports 0 from its start loses nothing."""
    late = {requests(200): "0+100x100", requests(500): "_x50 1+0x10 2+0x40"}
    from_the_start = {requests(200): "0+100x100", requests(500): "0+0x50 1+0x10 2+0x40"}
    errors = 'sum_over_time(tenant_slo:errors:rate5m{slo="availability"}[2h]) * 60'
    assert plain.value(late, "90m", errors) == pytest.approx(1, rel=0.3)
    assert plain.value(from_the_start, "90m", errors) == pytest.approx(2, rel=0.05)


def test_trap_5_one_failure_in_ten_requests_calls_nobody(plain: Lab) -> None:
    """100 times the budget, and no evidence."""
    traffic = {requests(200): "0+0x30 0+1x9 9+0x60", requests(500): "0+0x35 1+0x65"}
    # promtool evaluates tiles too often, so longer windows count events twice: see test_slo_values for these.
    everything = 'count_over_time(ALERTS{alertname="SloBudgetBurn",burn=~"1h|6h"}[2h])'
    burn, alerts = plain.observe(traffic, "45m", "tenant_slo:burn_rate:1h", everything)
    assert burn[ACME] > 14.4
    assert alerts == {}


def test_trap_5_without_a_guard_the_same_failure_calls_somebody(tmp_path: Path) -> None:
    """So the test above can fail."""
    traffic = {requests(200): "0+0x30 0+1x9 9+0x60", requests(500): "0+0x35 1+0x65"}
    unguarded = lab(tmp_path, slos=slo("alerts: {guard: none}"))
    assert unguarded.observe(traffic, "37m", 'ALERTS{alertname="SloBudgetBurn",severity="page"}') != [{}]


# -- 6, 7, 21: denominators


def test_trap_6_where_traffic_ends_nothing_looks_like_an_outage(plain: Lab) -> None:
    """With a denominator that is kept from being 0, the edge of the traffic reads as all errors."""
    traffic = {requests(200): "0+999x60 59940+0x60", requests(500): "0+1x60 60+0x60"}
    worst = "max_over_time(tenant_slo:burn_rate:5m[2h]) or max_over_time(tenant_slo:burn_rate:30m[2h])"
    assert plain.value(traffic, "2h", worst) == pytest.approx(1, rel=0.01)
    assert plain.value(traffic, "80m", "tenant_slo:burn_rate:5m") is None


def test_trap_6_no_denominator_is_padded(example: Stack) -> None:
    padded = re.compile(r"clamp_min\([^()]*total|\+ *(?:1e-|0\.0{3,}\d+ *\))")
    divided = [text for text in expressions(example) if re.search(r"/ *\(*(?:clamp_min|vector)", text)]
    assert divided == []
    ours = [text for text in expressions(example) if "slo" in text]
    assert [text for text in ours if padded.search(text) and "- on" not in text] == []


def test_trap_6_each_window_is_divided_by_its_own_total(example: Stack) -> None:
    seen = 0
    for rule in all_rules(example):
        if isinstance(rule, Recording) and rule.record.startswith("tenant_slo:burn_rate:"):
            window = rule.record.rpartition(":")[2]
            ranges = set(re.findall(r"\[(\w+)\]", rule.expr))
            assert ranges == (set() if window == "5m" else {window}), rule.record
            assert set(re.findall(r"total:sum(\w+)", rule.expr)) - {"5m"} <= {window}, rule.record
            seen += 1
    assert seen >= 5


def test_trap_7_no_vector_stands_in_for_traffic(example: Stack) -> None:
    """`or vector(1)` drops the tenant, and turns a share into a rate."""
    assert [text for text in expressions(example) if re.search(r"\bor\b[^a-z]*vector\((?!1\)\s*and on)", text)] == []


@pytest.mark.parametrize("counted", ["bad", "good"])
def test_trap_21_no_events_are_no_verdict(counted: str, tmp_path: Path) -> None:
    """0 of 0 is neither 0 % nor 100 %, and never infinite."""
    idle = lab(tmp_path, slos=slo("", counted=counted))
    traffic = {requests(200): "5+0x60", requests(500): "5+0x60"}
    consumed, infinite, state = idle.observe(
        traffic,
        "50m",
        "tenant_slo:error_budget_consumed:ratio or tenant_slo:burn_rate:1h or tenant_slo:success:ratio",
        f"{OURS} == Inf or {OURS} == -Inf",
        "tenant_slo:state:code",
    )
    assert consumed == {}
    assert infinite == {}
    assert state[ACME] == 3


def test_trap_21_a_missing_side_is_told_from_zero(tmp_path: Path) -> None:
    """Without a single good event all failed; without a total nothing is known."""
    good = lab(tmp_path, slos=slo("", counted="good"))
    assert good.value({requests(500): "0+100x60"}, "50m", "tenant_slo:success:ratio") == pytest.approx(0)
    assert good.value({'other_total{tenant_id="acme"}': "0+100x60"}, "50m", "tenant_slo:success:ratio") is None


# -- 8, 9, 10, 11: arithmetic of the tables


@pytest.mark.parametrize(
    ("objective", "window", "never"), [("90", "30d", "1h"), ("97.6", "90d", "1h"), ("80", "30d", "6h")]
)
def test_trap_8_a_tier_that_cannot_be_reached_is_refused(
    objective: str, window: str, never: str, tmp_path: Path
) -> None:
    files = {
        "slos": slo("", objective, window),
        "stack": "stack: shop\nretention: 100d\nservices: {a: {scrape: [a:1]}}\n",
    }
    problems = read_definitions(define(tmp_path, **files)).problems
    assert [problem.code for problem in problems] == ["B120"]
    assert never in problems[0].message


@pytest.mark.parametrize("objective", ["50", "80", "90", "93.1", "97.6", "98.57", "99", "99.9999"])
@pytest.mark.parametrize("window", ["7d", "28d", "30d", "90d"])
def test_trap_8_what_is_accepted_can_fire(objective: str, window: str, tmp_path: Path) -> None:
    files = {
        "slos": slo("", objective, window),
        "stack": "stack: shop\nretention: 100d\nservices: {a: {scrape: [a:1]}}\n",
    }
    stack = read_definitions(define(tmp_path, **files)).stack
    for each in stack.slos if stack else ():
        for tier in each.burn:
            assert windows.factor(tier, each.window_seconds) * windows.budget(each.default) < 1


@pytest.mark.parametrize(
    ("window", "factors"),
    [
        ("30d", ("14.4", "6", "3", "1")),
        ("28d", ("13.44", "5.6", "2.8", "1")),
        ("7d", ("3.36", "1.4", "1", "1")),
        ("90d", ("43.2", "18", "9", "3")),
    ],
)
def test_trap_9_factors_scale_with_the_window(window: str, factors: tuple[str, ...], tmp_path: Path) -> None:
    """But not below 1: 0.1 of 28 days within three days would be 0.9333, and alert on who stays within the budget."""
    stack = stack_from(
        tmp_path,
        slos=slo("", "99.9", window),
        stack="stack: shop\nretention: 100d\nservices: {a: {scrape: [a:1]}}\n",
    )
    limits = [
        re.findall(r"burn_rate:\w+\{[^}]*\} > ([\d.]+)", rule.condition)
        for rule in all_rules(stack)
        if isinstance(rule, Alert) and rule.alert == "SloBudgetBurn"
    ]
    assert all(long == short for long, short in limits)
    found = [Decimal(long) for long, _ in limits]
    assert [round(each, 4) for each in found] == [Decimal(each) for each in factors]


@pytest.mark.parametrize("window", ["7d", "14d", "28d"])
def test_trap_9_nobody_is_alerted_on_who_stays_within_the_budget(window: str, tmp_path: Path) -> None:
    """A factor below 1 alerts on a tenant that will have budget left at the end of its window."""
    stack = stack_from(tmp_path, slos=slo("", "99.9", window))
    (only,) = stack.slos
    assert min(windows.factor(tier, only.window_seconds) for tier in only.burn) >= 1


NOISE = re.compile(r"\d\.\d*?(?:0{6,}[1-9]|9{6,}\d)\d*|\d[eE]-\d")


@pytest.mark.parametrize("path", [AETHER, LCOPILOT], ids=["aether", "lcopilot"])
def test_trap_10_no_float_noise_in_any_file_of_an_example(path: Path) -> None:
    for name, text in compiled(stack_of(path)).items():
        assert NOISE.findall(text) == [], name


@pytest.mark.parametrize("objective", ["99.9", "99.99", "99.95", "97.3", "99.9999", "98.57", "99.7"])
@pytest.mark.parametrize("window", ["30d", "28d"])
def test_trap_10_budgets_and_factors_are_written_as_people_write_them(
    objective: str, window: str, tmp_path: Path
) -> None:
    stack = stack_from(
        tmp_path,
        slos=slo("", f"{{default: {objective}, pro: 99.85}}", window),
        tenants="tiers: {pro: {}}\ntenants:\n  - {id: acme, tier: pro, objectives: {availability: 99.37}}\n",
    )
    text = "\n".join(text for path, text in compiled(stack).items() if path.startswith("rules/"))
    assert NOISE.findall(text) == []
    assert f"+ {(100 - Decimal(objective)) / 100:f}\n" in text
    assert "+ 0.0015\n" in text
    assert "vector(0.9937)" in text


def test_trap_10_thirds_are_cut(tmp_path: Path) -> None:
    """0.1 of 31 days within 3 days is 1.0333…; nobody reads 28 digits, and a float holds 17."""
    stack = stack_from(tmp_path, slos=slo("", "99.9", "31d"))
    numbers = [number for text in expressions(stack) for number in re.findall(r"\d+\.\d+", text)]
    assert [number for number in numbers if len(number) > 12] == []


def test_trap_10_an_objective_of_100_is_refused(tmp_path: Path) -> None:
    """Its burn rate would be infinite."""
    assert [each.code for each in read_definitions(define(tmp_path, slos=slo("", "100"))).problems] == ["B114"]


def test_trap_11_every_window_holds_four_scrapes(example: Stack) -> None:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    found = 0
    for text in expressions(example):
        for number, unit in re.findall(r"\[(\d+)([smhd])\]", text):
            assert int(number) * units[unit] >= 4 * example.scrape_interval_seconds
            found += 1
    assert found > 20


@pytest.mark.parametrize("short", ["30s", "59s"])
def test_trap_11_a_shorter_window_is_refused_where_it_stands(short: str, tmp_path: Path) -> None:
    body = f"alerts: {{rows: [{{severity: page, long: 1h, short: {short}, factor: 14.4}}]}}"
    (problem,) = read_definitions(define(tmp_path, slos=slo(body))).problems
    assert (problem.code, Path(problem.place.file).name) == ("B121", "slos.yml")


# -- 12, 13, 17, 18: names and labels


def test_trap_12_an_edited_owner_or_description_breaks_no_history(tmp_path: Path) -> None:
    """Identity alone is on recorded series; what describes is on `slo_info`."""

    def recorded(name: str, body: str) -> list[Recording]:
        stack = stack_from(tmp_path / name, slos=slo(body))
        return [each for each in all_rules(stack) if isinstance(each, Recording) and each.record != "slo_info"]

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = recorded("one", "owner: platform\n    description: Answers")
    assert one == recorded("two", "owner: payments\n    description: Replies that are no errors")
    assert len(one) > 10


def test_trap_12_recorded_series_carry_identity_alone(example: Stack) -> None:
    allowed = {"slo", "window", "calendar", "zone", "period", "component", "resource", "level", "tier", "vip"}
    for rule in all_rules(example):
        if isinstance(rule, Recording) and rule.record != "slo_info":
            assert {name for name, _ in rule.labels} <= allowed | {example.tenant_label}, rule.record


def test_trap_13_no_rule_stands_twice(example: Stack) -> None:
    files: tuple[RuleFile, ...] = rules(example, Site())
    series = Counter((rule.record, rule.labels) for rule in all_rules(example) if isinstance(rule, Recording))
    groups = Counter(group.name for file in files for group in file.groups)
    assert [name for name, times in groups.items() if times > 1] == []
    assert [which for which, times in series.items() if times > 1] == []


def test_trap_13_promtool_has_no_warnings(example: Stack, tmp_path: Path) -> None:
    paths = []
    for name, text in compiled(example).items():
        if name.startswith("rules/"):
            path = tmp_path / Path(name).name
            path.write_text(text)
            paths.append(str(path))
    done = subprocess.run([find_tool("promtool").path, "check", "rules", *paths], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count("SUCCESS") == len(paths)
    assert "uplicate" not in done.stdout + done.stderr


def test_trap_13_alerts_of_one_name_are_told_apart_by_their_burn_tier(example: Stack) -> None:
    alerts = [rule for rule in all_rules(example) if isinstance(rule, Alert) and rule.alert == "SloBudgetBurn"]
    which = Counter((re.findall(r'slo="(\w+)"', rule.condition)[0], dict(rule.labels)["burn"]) for rule in alerts)
    assert len(which) == len(alerts)


def test_trap_17_no_series_has_two_roles(example: Stack) -> None:
    """All records of one name are of one kind: the same expression but for names, bounds and numbers."""
    for rule in all_rules(example):
        if isinstance(rule, Recording) and rule.record.startswith("tenant_slo:total:"):
            assert "_bucket" not in rule.expr
            assert "errors" not in rule.expr


def test_trap_17_the_denominator_is_not_counted_twice(tmp_path: Path) -> None:
    """Buckets and the count share a histogram; the total is the count alone."""
    who = 'tenant_id="acme"'
    traffic = {
        f'request_seconds_bucket{{{who},le="0.5"}}': "0+50x60",
        f'request_seconds_bucket{{{who},le="1"}}': "0+80x60",
        f'request_seconds_bucket{{{who},le="+Inf"}}': "0+100x60",
        f"request_seconds_count{{{who}}}": "0+100x60",
        f"request_seconds_sum{{{who}}}": "0+70x60",
    }
    success = lab(tmp_path, slos=LATENCY).value(traffic, "50m", "tenant_slo:success:ratio")
    assert success == pytest.approx(0.8)


def test_trap_18_no_subqueries(example: Stack) -> None:
    """They sample at instants of their own, and drop or repeat what was evaluated late."""
    boards = [text for path, text in compiled(example).items() if path.startswith(("dashboards/", "grafana/"))]
    assert [text for text in expressions(example) if re.search(r"\[\w+:\w*\]", text)] == []
    assert [found for text in boards for found in re.findall(r"\[\w+:\w*\]", text)] == []


# -- 14, 15, 16, 19: the ways of counters


def test_trap_14_more_errors_than_events_stay_within_bounds_and_are_told(tmp_path: Path) -> None:
    """What is called bad is no part of the total: shares stay shares, and somebody is told."""
    faulty = lab(
        tmp_path,
        slos="slos:\n  availability: {bad: errors_total, total: requests_total, objective: 99.9, window: 30d}\n",
    )
    traffic = {'errors_total{tenant_id="acme"}': "0+300x90", 'requests_total{tenant_id="acme"}': "0+100x90"}
    success, alerts = faulty.observe(
        traffic, "80m", "tenant_slo:success:ratio", 'ALERTS{alertname="SloErrorsExceedTotal",alertstate="firing"}'
    )
    assert success[ACME] == 0
    assert [dict(each)["slo"] for each in alerts] == ["availability"]


def test_trap_14_two_counters_read_at_two_instants_are_no_alarm(tmp_path: Path) -> None:
    """More good events than events, by a little: no error, never less than none."""
    counters = lab(
        tmp_path,
        slos="slos:\n  availability: {good: good_total, total: requests_total, objective: 99.9, window: 30d}\n",
    )
    traffic = {'good_total{tenant_id="acme"}': "0+101x90", 'requests_total{tenant_id="acme"}': "0+100x90"}
    burn, success, alerts = counters.observe(
        traffic,
        "80m",
        "tenant_slo:burn_rate:1h",
        "tenant_slo:success:ratio",
        'ALERTS{alertname=~"Slo.*"}',
    )
    assert (burn[ACME], success[ACME], alerts) == (0, 1, {})


def test_trap_15_a_gap_in_the_scrapes_is_no_error_and_costs_no_budget(plain: Lab) -> None:
    """Eleven minutes without samples, then the counters go on from where they are."""
    traffic = {requests(200): "0+990x40 _x11 51480+990x60", requests(500): "0+10x40 _x11 520+10x60"}
    burn, consumed = plain.observe(
        traffic, "100m", "max_over_time(tenant_slo:burn_rate:5m[2h])", "tenant_slo:error_budget_consumed:ratio"
    )
    assert burn[ACME] == pytest.approx(10, rel=0.01)
    assert consumed[ACME] == pytest.approx(10, rel=0.01)


def test_trap_15_no_group_is_so_slow_that_its_series_go_stale(example: Stack) -> None:
    """What is evaluated every five minutes is read over ranges only: an instant looks back five minutes."""
    slow = {
        rule.record
        for file in rules(example, Site())
        for group in file.groups
        if group.interval_seconds > 120
        for rule in group.rules
        if isinstance(rule, Recording)
    }
    assert slow
    assert all(group.interval_seconds <= 300 for file in rules(example, Site()) for group in file.groups)
    for text in expressions(example):
        for name in slow:
            instants = [found for found in re.findall(rf"{name}\b(\{{[^}}]*\}})?(.?)", text) if found[1] != "["]
            assert instants == [], text


@pytest.mark.parametrize("written", ["1", "1.0"])
def test_trap_16_whole_bounds_are_found_however_a_client_writes_them(written: str, tmp_path: Path) -> None:
    """Clients write 1 or 1.0; Prometheus 3 makes 1.0 of both."""
    who = 'tenant_id="acme"'
    traffic = {
        f'request_seconds_bucket{{{who},le="{written}"}}': "0+80x60",
        f'request_seconds_bucket{{{who},le="10"}}': "0+90x60",
        f'request_seconds_bucket{{{who},le="+Inf"}}': "0+100x60",
        f"request_seconds_count{{{who}}}": "0+100x60",
    }
    assert lab(tmp_path, slos=LATENCY).value(traffic, "50m", "tenant_slo:success:ratio") == pytest.approx(0.8)


def test_trap_16_bounds_of_many_days_are_found(tmp_path: Path) -> None:
    """Clients of Go and Python write a million seconds and more with an exponent."""
    who = 'tenant_id="acme"'
    traffic = {
        f'request_seconds_bucket{{{who},le="1.2096e+06"}}': "0+80x60",
        f'request_seconds_bucket{{{who},le="+Inf"}}': "0+100x60",
        f"request_seconds_count{{{who}}}": "0+100x60",
    }
    slos = "slos:\n  tickets: {histogram: request_seconds, within: 336h, objective: 95, window: 30d}\n"
    assert lab(tmp_path, slos=slos).value(traffic, "50m", "tenant_slo:success:ratio") == pytest.approx(0.8)


def test_trap_16_a_bucket_that_does_not_exist_is_no_perfect_service(tmp_path: Path) -> None:
    """Neither 0 % nor 100 %: no value, so that a board shows it."""
    traffic = {
        'request_seconds_bucket{tenant_id="acme",le="2"}': "0+80x60",
        'request_seconds_bucket{tenant_id="acme",le="+Inf"}': "0+100x60",
        'request_seconds_count{tenant_id="acme"}': "0+100x60",
    }
    latency = lab(tmp_path, slos=LATENCY)
    success, state = latency.observe(traffic, "50m", "tenant_slo:success:ratio", "tenant_slo:state:code")
    assert success == {}
    assert state[labels(tenant_id="acme", slo="latency")] == 3


def test_trap_19_a_young_class_is_judged_by_the_events_that_it_saw(plain: Lab) -> None:
    """An hour of history is no thirty days of health before it."""
    traffic = {requests(200): "_x60 0+990x60", requests(500): "_x60 0+10x60"}
    month, days = plain.observe(traffic, "2h", "tenant_slo:success:ratio", "tenant_slo:burn_rate:3d")
    assert month[ACME] == pytest.approx(0.99, rel=0.001)
    assert days[ACME] == pytest.approx(10, rel=0.01)


def test_trap_19_the_restart_of_one_instance_is_no_flood_of_events(plain: Lab) -> None:
    """Rates before sums: after a sum a restart of one of two is no longer seen as such."""

    def instance(number: int, code: int) -> str:
        return f'http_requests_total{{tenant_id="acme",instance="{number}",code="{code}"}}'

    traffic = {
        instance(1, 200): "0+990x40 0+990x60",
        instance(1, 500): "0+10x40 0+10x60",
        instance(2, 200): "0+990x100",
        instance(2, 500): "0+10x100",
    }
    total, consumed = plain.observe(
        traffic, "90m", "max_over_time(tenant_slo:total:rate5m[2h]) * 60", "tenant_slo:error_budget_consumed:ratio"
    )
    assert total[ACME] == pytest.approx(2000, rel=0.02)
    assert consumed[ACME] == pytest.approx(10, rel=0.02)


def test_trap_19_no_rate_is_taken_of_a_sum(example: Stack) -> None:
    taken = re.compile(r"\b(?:rate|increase|irate)\((?:sum|tenant_slo|slo:|\w*:)")
    assert [text for text in expressions(example) if taken.search(text)] == []


# -- 20, 22: what people ask


def recorded_labels(stack: Stack) -> dict[str, set[str]]:
    """The labels that recorded series have, by their name."""
    found: dict[str, set[str]] = {}
    for rule in all_rules(stack):
        if isinstance(rule, Recording):
            found.setdefault(rule.record, set()).update(name for name, _ in rule.labels)
    for name, of in found.items():
        if name.startswith("tenant_slo"):
            of.update({stack.tenant_label, "slo"})
        elif name.startswith("tier_slo:"):
            of.update({"slo", "tier"})
        elif name.startswith("slo:"):
            of.add("slo")
        else:
            of.update({stack.tenant_label, "tier", "vip", "slo"} if "tenant" in name else {stack.tenant_label})
    return found


def selectors(expr: str) -> Iterator[tuple[str, set[str]]]:
    """Name and matched labels of each selector of an expression."""

    def walk(node: Any) -> Iterator[Any]:
        if type(node).__name__ in ("VectorSelector", "MatrixSelector"):
            yield getattr(node, "vector_selector", None) or getattr(node, "vs", node)
        for part in ("expr", "lhs", "rhs", "param"):
            child = getattr(node, part, None)
            if child is not None:
                yield from walk(child)
        for child in getattr(node, "args", None) or ():
            yield from walk(child)

    for node in walk(promql_parser.parse(expr)):
        yield str(node.name), {matcher.name for matcher in node.matchers.matchers}


def queries_of_boards(files: dict[str, str]) -> Iterator[tuple[str, str]]:
    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("expr"), str):
                yield value["expr"]
            for child in value.values():
                yield from walk(child)
        elif isinstance(value, list):
            for child in value:
                yield from walk(child)

    for path, text in files.items():
        if path.endswith(".json") and "dashboards" in path:
            for query in walk(json.loads(text)):
                yield path, query


def plain_query(query: str) -> str:
    """Grafana's variables filled in with what they could be."""
    return re.sub(r"\$__\w+|\$\{__\w+\}", "5m", re.sub(r"\$\{?(?!_)\w+(?::\w+)?\}?", "x", query))


def test_trap_20_queries_of_boards_ask_for_labels_that_exist(example: Stack) -> None:
    """A matcher on a label that no rule records gives an empty panel, for ever."""
    known = recorded_labels(example)
    asked = 0
    for path, query in queries_of_boards(compiled(example)):
        for name, matched in selectors(plain_query(query)):
            if name in known:
                assert matched <= known[name], f"{path}: {query}"
                asked += 1
            assert not name.startswith(("tenant_slo", "slo:", "tier_slo")) or name in known, f"{path}: {query}"
    assert asked or not example.boards


def test_trap_20_queries_of_runbooks_ask_for_series_and_labels_that_exist(example: Stack) -> None:
    known = recorded_labels(example)
    pages = {path: text for path, text in compiled(example).items() if path.startswith("runbooks/Slo")}
    assert pages
    asked = 0
    for path, text in pages.items():
        for query in re.findall(r"^((?:[a-z]|\().*(?:tenant_slo|slo:).*)$", text, flags=re.MULTILINE):
            try:
                found = list(selectors(query))
            except ValueError:
                continue
            for name, matched in found:
                assert name in known or not name.startswith(("tenant_slo", "slo:", "tier_slo")), f"{path}: {query}"
                assert matched <= known.get(name, matched), f"{path}: {query}"
                asked += 1
    assert asked


def test_trap_20_notifications_name_labels_that_the_alert_has(example: Stack) -> None:
    for rule in all_rules(example):
        if isinstance(rule, Alert) and rule.alert == "SloBudgetBurn":
            has = {name for name, _ in rule.labels} | {"slo", example.tenant_label}
            for _, text in rule.annotations:
                assert set(re.findall(r"\$labels\.(\w+)", text)) <= has


def test_trap_22_a_tenant_that_vanished_is_named(plain: Lab) -> None:
    """Its neighbour still sends traffic, so nothing over all tenants is absent."""
    traffic = {requests(200): "0+100x120", requests(200, "globex"): "0+100x30 stale"}
    before, after = (plain.observe(traffic, at, "tenant_slo:state:code == 4")[0] for at in ("25m", "45m"))
    assert before == {}
    assert after == {labels(tenant_id="globex", slo="availability"): 4}


def test_trap_22_no_rule_of_an_slo_asks_for_absence(example: Stack) -> None:
    """`absent` cannot say who is."""
    for file in rules(example, Site()):
        if "slo" in file.path:
            for group in file.groups:
                assert not any("absent" in getattr(rule, "expr", "") for rule in group.rules)
