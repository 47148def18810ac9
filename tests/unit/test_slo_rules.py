"""The shape of what is compiled from SLO classes: how many rules, of which windows, from which series."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reliary import promql
from reliary.artifacts import Alert, Recording, Site
from reliary.compile import rules
from reliary.definitions.spec import read_definitions
from reliary.model import Stack
from slolab import define, stack_from
from support import ROOT, stack_of

LONG = "stack: shop\nretention: 100d\nservices: {api: {scrape: ['a:1']}}\n"


def slo(body: str = "", window: str = "30d") -> str:
    return (
        'slos:\n  availability:\n    bad: http_requests_total{code=~"5.."}\n    total: http_requests_total\n'
        f"    objective: 99.9\n    window: {window}\n    {body}\n"
    )


def built(folder: Path, body: str = "", **texts: str) -> Stack:
    return stack_from(folder, slos=texts.pop("slos", slo(body)), stack=texts.pop("stack", LONG), **texts)


def recordings(stack: Stack, prefix: str = "tenant_slo:") -> dict[str, Recording]:
    """Recording rules of the only class, by name."""
    files = [file for file in rules(stack, Site()) if file.path.startswith("rules/slo-availability")]
    every = [rule for file in files for group in file.groups for rule in group.rules]
    return {rule.record: rule for rule in every if isinstance(rule, Recording) and rule.record.startswith(prefix)}


def alerts(stack: Stack) -> dict[str, Alert]:
    """Burn alerts of the only class, by long window."""
    every = [rule for file in rules(stack, Site()) for group in file.groups for rule in group.rules]
    return {
        dict(rule.labels)["burn"]: rule for rule in every if isinstance(rule, Alert) and rule.alert == "SloBudgetBurn"
    }


# -- how many


def test_the_rules_of_a_class_do_not_grow_with_its_tenants(tmp_path: Path) -> None:
    few = built(tmp_path / "few")
    rows = "".join(f"  - {{id: t{number}, tier: pro}}\n" for number in range(200))
    many = built(tmp_path / "many", tenants=f"tiers: {{pro: {{}}}}\ntenants:\n{rows}")
    assert recordings(few) == recordings(many)
    assert len(alerts(few)) == len(alerts(many)) == 4


def test_a_class_without_alerts_still_shows_how_fast_it_burns(tmp_path: Path) -> None:
    quiet = built(tmp_path, "alerts: none")
    assert alerts(quiet) == {}
    assert {name for name in recordings(quiet) if "burn_rate" in name} == {
        "tenant_slo:burn_rate:5m",
        "tenant_slo:burn_rate:1h",
    }


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ("[1h]", {"6h", "1d", "3d"}),
        ("[page]", {"1d", "3d"}),
        ("[ticket, 6h]", {"1h"}),
        ("3d", {"1h", "6h", "1d"}),
        ("[page, ticket]", set()),
    ],
)
def test_tiers_are_switched_off_by_window_or_severity(off: str, left: set[str], tmp_path: Path) -> None:
    assert set(alerts(built(tmp_path, f"alerts: {{without: {off}}}"))) == left


def test_tickets_stay_for_hours_and_pages_end_at_once(tmp_path: Path) -> None:
    assert {burn: rule.keep_firing_for_seconds for burn, rule in alerts(built(tmp_path)).items()} == {
        "1h": 0,
        "6h": 0,
        "1d": 6 * 3600,
        "3d": 6 * 3600,
    }


def test_own_rows_are_taken_as_they_are(tmp_path: Path) -> None:
    row = "{severity: ticket, long: 2h, short: 10m, factor: 7.5, for: 3m, keep_firing_for: 15m}"
    (alert,) = alerts(built(tmp_path, f"alerts: {{rows: [{row}]}}")).values()
    assert (alert.for_seconds, alert.keep_firing_for_seconds) == (180, 900)
    assert dict(alert.labels)["severity"] == "ticket"
    assert re.findall(r"burn_rate:(\w+)\S* > 7\.5", alert.condition) == ["2h", "10m"]


# -- from what


def test_windows_are_read_from_counters_rates_or_tiles_by_their_length(tmp_path: Path) -> None:
    """Sums of 5m rates lag, which matters to short windows; raw counters are dear for long ones."""
    found = recordings(built(tmp_path), "tenant_slo:burn_rate:")
    source = {
        name.rpartition(":")[2]: re.findall(r"rate\(http|errors:rate5m|errors:sum5m", rule.expr)[0]
        for name, rule in found.items()
    }
    assert source == {
        "5m": "errors:rate5m",
        "30m": "rate(http",
        "1h": "errors:rate5m",
        "2h": "errors:rate5m",
        "6h": "errors:rate5m",
        "1d": "errors:sum5m",
        "3d": "errors:sum5m",
    }


def test_a_class_that_leaves_out_windows_never_reads_the_counters_over_more_than_a_rate(tmp_path: Path) -> None:
    """Counters know nothing of planned windows."""
    maintenance = "maintenance: {patching: {every: Sun 02:00, lasts: 30m}}\n"
    for name, rule in recordings(built(tmp_path, maintenance=maintenance)).items():
        assert set(re.findall(r"http_requests_total[^[]*\[(\w+)\]", rule.expr)) <= {"5m"}, name


def test_exact_classes_read_the_counters_up_to_six_hours(tmp_path: Path) -> None:
    exact = recordings(built(tmp_path, "exact: true"), "tenant_slo:burn_rate:")
    for window in ("30m", "1h", "2h", "6h"):
        assert f"rate(http_requests_total[{window}])" in exact[f"tenant_slo:burn_rate:{window}"].expr
    assert "sum5m" in exact["tenant_slo:burn_rate:1d"].expr


def test_windows_that_leave_out_events_touch_only_their_slos(tmp_path: Path) -> None:
    slos = slo() + slo().replace("slos:\n", "").replace("availability", "other")
    maintenance = "maintenance: {patching: {every: Sun 02:00, lasts: 30m, slos: [other]}}\n"
    stack = built(tmp_path, slos=slos, maintenance=maintenance)
    assert not any("maintenance" in rule.expr for rule in recordings(stack).values())
    assert any(
        "maintenance:active" in rule.expr
        for file in rules(stack, Site())
        if "slo-other" in file.path
        for group in file.groups
        for rule in group.rules
        if isinstance(rule, Recording)
    )


def test_every_expression_parses_and_no_tenant_label_is_taken_for_granted() -> None:
    stack = stack_of(ROOT / "examples" / "lcopilot")
    for file in rules(stack, Site()):
        for group in file.groups:
            for rule in group.rules:
                text = rule.expr if isinstance(rule, Recording) else rule.condition
                assert promql.syntax_problem(text) is None, text
                assert "tenant_id" not in text


@pytest.mark.parametrize(
    "bad",
    [
        '{code=~"5..",path!~"/a|/b"}',
        "{code=~'5..'}",
        '{code=~"5..", path="/x{y}"}',
        '{code="\\\\d \\"x\\""}',
        "{__name__='x'}",
    ],
)
def test_odd_selectors_are_read_or_refused_and_never_broken(bad: str, tmp_path: Path) -> None:
    counted = f"bad: |-\n      http_requests_total{bad}\n    total"
    text = slo().replace('bad: http_requests_total{code=~"5.."}\n    total', counted)
    reading = read_definitions(define(tmp_path, slos=text))
    assert reading.stack is not None or reading.problems
    if reading.stack is not None:
        for rule in recordings(reading.stack).values():
            assert promql.syntax_problem(rule.expr) is None, rule.expr


# -- what is refused


@pytest.mark.parametrize(
    ("bad", "total"),
    [
        ('x_total{job="api"}', 'x_total{ job="api" }'),
        ('x_total{job="api",code=~"5.."}', 'x_total{code=~"5..",job="api"}'),
        ('x_total{job="api"}', "x_total{job='api'}"),
        ("x_total", "x_total{}"),
    ],
)
def test_a_part_that_is_the_total_in_other_words_is_refused(bad: str, total: str, tmp_path: Path) -> None:
    """Every event would be bad, and no report would say why."""
    text = (
        f"slos:\n  a:\n    bad: |-\n      {bad}\n    total: |-\n      {total}\n    objective: 99.9\n    window: 30d\n"
    )
    assert [problem.code for problem in read_definitions(define(tmp_path, slos=text)).problems] == ["B132"]


def test_exact_is_refused_only_where_windows_leave_out_its_events(tmp_path: Path) -> None:
    body = "exact: true"
    for name, row, fine in (
        ("all", "{every: Sun 02:00, lasts: 30m}", False),
        ("mine", "{every: Sun 02:00, lasts: 30m, slos: [availability]}", False),
        ("counted", "{every: Sun 02:00, lasts: 30m, counts_against_sla: true}", True),
    ):
        definitions = define(tmp_path / name, slos=slo(body), maintenance=f"maintenance: {{m: {row}}}\n")
        assert (read_definitions(definitions).stack is not None) == fine, name
