"""What `reliary explain` says: when an alert fires, who is told, what traffic can support, and what it costs.

Detection times are compared with those that were simulated (Poisson traffic, 12 tenant-years, one evaluation a minute,
no 5-minute rates), and with what promtool sees of the emitted rules.
"""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reliary import promtool
from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary.explaining.cost import cost, selections
from reliary.explaining.detection import Lags, bad_events, clears_within, fires_after, lags, limit
from reliary.explaining.explain import explain, explain_composite, overview
from reliary.explaining.traffic import AtTraffic
from reliary.explaining.words import amount, maintenance_words, percent, spoken_time
from reliary.model import (
    BurnGuard,
    Calendar,
    Maintenance,
    Probe,
    Query,
    Ratio,
    RawRatio,
    Recurring,
    Selector,
    Slo,
    Stack,
    Tenant,
)
from reliary.promtool import Expectation, Stretch, counter
from reliary_stack.binaries import find_tool
from reliary_stack.commands.explain import explain as command
from reliary_stack.explainview import explanation_view
from support import AETHER, ROOT, aether, changed_copy, stack_of

LCOPILOT = ROOT / "examples" / "lcopilot"
SIMULATED = Lags(rate_seconds=1, tile_seconds=0, fast_seconds=60, slow_seconds=60)
MINUTE, HOUR = 60, 3600
STACK = aether()
AVAILABILITY, LATENCY = STACK.slos


def pages_after(slo: Slo, objective: str, per_hour: int, errors: str, lag: Lags) -> int | None:
    ratio, rate = Decimal(errors), Decimal(per_hour)
    tiers = (tier for tier in slo.burn if tier.severity == "page")
    found = [fires_after(slo, tier, Decimal(objective), rate, ratio, lag) for tier in tiers]
    return min((at for at in found if at is not None), default=None)


def tenant(name: str, stack: Stack = STACK) -> Tenant:
    return next(each for each in stack.tenants if each.id == name)


def at(slo: Slo, per_hour: str, who: str | None = None, stack: Stack = STACK) -> AtTraffic:
    [found] = explain(stack, slo, tenant(who, stack) if who else None, Decimal(per_hour)).traffic
    return found


class TestBadEvents:
    @pytest.mark.parametrize(
        ("guard", "limit_ratio", "events", "bad"),
        [
            (BurnGuard("margin"), "0.0144", "10", 3),
            (BurnGuard("margin"), "0.0144", "100", 6),
            (BurnGuard("margin"), "0.0144", "10000", 166),
            (BurnGuard("none"), "0.0144", "10", 1),
            (BurnGuard("none"), "0.01", "100", 2),  # 1 of 100 is the limit, not more than it
            (BurnGuard("counts", 5, 0), "0.0144", "10", 5),
            (BurnGuard("counts", 5, 0), "0.0144", "1000", 15),
            (BurnGuard("counts", 0, 100), "0.0144", "99", None),
            (BurnGuard("counts", 0, 100), "0.0144", "100", 2),
        ],
    )
    def test_is_the_fewest_that_fire(self, guard: BurnGuard, limit_ratio: str, events: str, bad: int | None) -> None:
        assert bad_events(guard, Decimal(limit_ratio), Decimal(events)) == bad

    @given(
        st.decimals("0.000001", "0.99", places=6),
        st.decimals("0.01", "100000", places=2),
        st.sampled_from(["margin", "none"]),
    )
    def test_one_less_does_not_fire(self, limit_ratio: Decimal, events: Decimal, kind: str) -> None:
        z = 1.645 if kind == "margin" else 0.0
        bad = bad_events(BurnGuard(kind), limit_ratio, events)  # type: ignore[arg-type]
        assert bad is not None
        assert bad >= 1
        needed = float(limit_ratio * events)
        assert bad - z * math.sqrt(bad) > needed - 1e-6
        assert bad == 1 or (bad - 1) - z * math.sqrt(bad - 1) <= needed + 1e-6


class TestDetection:
    @pytest.mark.parametrize(
        ("objective", "per_hour", "total", "tenth"),
        [
            ("99", 10, 33, None),
            ("99.9", 1, 164, None),
            ("99.9", 10, 18, 230),
            ("99.9", 100, 4, 36),
            ("99.9", 1000, 2, 13),
            ("99.9", 10000, 2, 11),
        ],
    )
    def test_agrees_with_the_simulation_of_the_margin(
        self, objective: str, per_hour: int, total: int, tenth: int | None
    ) -> None:
        """Medians in minutes to the page; None where fewer than half of the failures were seen within 12 hours."""
        for errors, median in (("1", total), ("0.1", tenth)):
            found = pages_after(AVAILABILITY, objective, per_hour, errors, SIMULATED)
            if median is None:
                assert found is None or found > 12 * HOUR
            else:
                assert found is not None
                assert abs(found / MINUTE - median) <= max(3, median * 0.05)

    @pytest.mark.parametrize(
        ("guard", "per_hour", "total", "tenth"),
        [
            (BurnGuard("none"), 10, 4, 46),
            (BurnGuard("none"), 100, 1, 10),
            (BurnGuard("counts", 3), 10, 15, 172),
            (BurnGuard("counts", 3), 1, 164, None),
            (BurnGuard("counts", 5), 10, 28, 307),
            (BurnGuard("counts", 5), 100, 3, 27),
        ],
    )
    def test_agrees_with_the_simulation_of_other_guards(
        self, guard: BurnGuard, per_hour: int, total: int, tenth: int | None
    ) -> None:
        slo = replace(AVAILABILITY, guard=guard)
        for errors, median in (("1", total), ("0.1", tenth)):
            found = pages_after(slo, "99.9", per_hour, errors, SIMULATED)
            assert (found is None) == (median is None)
            assert found is None or median is None or abs(found / MINUTE - median) <= max(3, median * 0.12)

    @pytest.mark.parametrize("per_hour", [1, 10, 100, 1000, 10000, 100000])
    @pytest.mark.parametrize("errors", ["1", "0.1"])
    def test_five_minute_rates_cost_up_to_four_minutes(self, per_hour: int, errors: str) -> None:
        ideal = pages_after(AVAILABILITY, "99.9", per_hour, errors, Lags(1, 0, 30, 30))
        real = pages_after(AVAILABILITY, "99.9", per_hour, errors, lags(STACK))
        assert (ideal is None) == (real is None)
        if ideal is not None and real is not None:
            assert 0 < real - ideal <= 4 * MINUTE

    @pytest.mark.parametrize(("per_hour", "errors"), [(1000, "1"), (10000, "0.5"), (100000, "1")])
    def test_promtool_sees_the_page_of_the_emitted_rules_at_that_time(
        self, tmp_path: Path, per_hour: int, errors: str
    ) -> None:
        slo = replace(AVAILABILITY, burn=AVAILABILITY.burn[:1])  # over an hour: the others need more of a past
        predicted = pages_after(slo, "99.5", per_hour, errors, lags(STACK))
        assert predicted is not None
        started, step = HOUR + 10 * MINUTE, Decimal(per_hour) / 240
        part = Decimal(errors)
        calm, failing = started // 15, 2 * HOUR // 15
        series = (
            (
                'http_requests_total{code="200",tenant_id="t"}',
                counter(Stretch(calm, step), Stretch(failing, step * (1 - part))),
            ),
            (
                'http_requests_total{code="500",tenant_id="t"}',
                counter(Stretch(calm, Decimal(0)), Stretch(failing, step * part)),
            ),
        )
        fires = 'count(ALERTS{alertstate="firing",severity="page"}) > bool 0'
        expected = (
            Expectation(fires, started + predicted - 90, ()),
            Expectation(fires, started + predicted + 90, (("{}", 1),)),
        )
        proof = promtool.test_file(
            "page", "", ["slo-availability"], (), 30, [promtool.Test("page", 15, series, expected)]
        )
        assert proof is not None
        stack = replace(STACK, slos=(slo, LATENCY))
        rules = next(f for f in compile_stack(stack, Site(), "") if f.path == "rules/slo-availability.yml")
        for file in (proof, rules):
            (tmp_path / file.path).parent.mkdir(exist_ok=True)
            (tmp_path / file.path).write_text(file.text, encoding="utf-8")
        tool = [str(find_tool("promtool").path), "test", "rules", "tests/page.yml"]
        done = subprocess.run(tool, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_errors_at_the_limit_never_fire(self) -> None:
        [page, *_] = AVAILABILITY.burn
        least = limit(AVAILABILITY, page, Decimal("99.9"))
        rate, objective = Decimal(10**6), Decimal("99.9")
        assert fires_after(AVAILABILITY, page, objective, rate, least, lags(STACK)) is None
        assert fires_after(AVAILABILITY, page, objective, rate, least * Decimal("1.2"), lags(STACK)) is not None

    def test_for_delays_the_alert_by_whole_evaluations(self) -> None:
        [page, *_] = AVAILABILITY.burn
        arguments = (Decimal("99.9"), Decimal(1000), Decimal(1), lags(STACK))
        at_once = fires_after(AVAILABILITY, page, *arguments)
        assert at_once is not None
        assert fires_after(AVAILABILITY, replace(page, for_seconds=100), *arguments) == at_once + 120

    def test_exact_classes_do_not_wait_for_five_minute_rates_to_fill(self) -> None:
        [page, *_] = AVAILABILITY.burn
        arguments = (page, Decimal("99.9"), Decimal(1000), Decimal(1), lags(STACK))
        smooth, exact = (fires_after(replace(AVAILABILITY, exact=on), *arguments) for on in (False, True))
        assert smooth is not None
        assert exact is not None
        assert exact < smooth

    def test_tickets_wait_for_tiles_and_for_the_slow_group(self) -> None:
        ticket = AVAILABILITY.burn[2]
        arguments = (Decimal("99.9"), Decimal(10000), Decimal(1))
        found = fires_after(AVAILABILITY, ticket, *arguments, lags(STACK))
        untiled = fires_after(AVAILABILITY, ticket, *arguments, replace(lags(STACK), tile_seconds=0))
        assert found is not None
        assert untiled is not None
        assert found % 120 == 0
        assert 120 <= found - untiled <= 240

    def test_a_window_that_cannot_hold_the_errors_never_fires(self) -> None:
        """At one request in two hours, ten hours' worth of errors do not fit into six."""
        page = AVAILABILITY.burn[1]
        assert fires_after(AVAILABILITY, page, Decimal("99.9"), Decimal("0.4"), Decimal(1), lags(STACK)) is None
        assert fires_after(AVAILABILITY, page, Decimal("99.9"), Decimal("0.5"), Decimal(1), lags(STACK)) is not None

    @pytest.mark.parametrize("per_hour", ["0.4446", "0.4452", "0.46", "1", "100", "200", "10000"])
    def test_sums_of_five_minute_rates_are_those_of_a_second_by_second_count(self, per_hour: str) -> None:
        page, rate = AVAILABILITY.burn[1], Decimal(per_hour)
        bad = bad_events(AVAILABILITY.guard, Decimal("0.006"), rate * 6)
        assert bad is not None
        due = float((bad - Decimal(1) / 3) * HOUR / rate)
        # What a failure of so many seconds adds to the sum over six hours of rates over five minutes.
        recorded = [min(second + 0.5, 300) / 300 for second in range(7 * HOUR)]
        window, second = 0.0, 0
        while window < max(due, 0.006 * 1800):
            window += recorded[second] - (recorded[second - 6 * HOUR] if second >= 6 * HOUR else 0)
            second += 1
        found = fires_after(AVAILABILITY, page, Decimal("99.9"), rate, Decimal(1), lags(STACK))
        assert found is not None
        assert second - 2 <= found <= second + 30

    def test_an_alert_ends_when_the_short_window_has_forgotten(self) -> None:
        hour, six_hours, day, _ = AVAILABILITY.burn
        assert clears_within(AVAILABILITY, hour) == 5 * MINUTE
        assert clears_within(AVAILABILITY, six_hours) == 30 * MINUTE  # counters know no lag
        assert clears_within(AVAILABILITY, day) == 2 * HOUR + 5 * MINUTE + 6 * HOUR


class TestPromise:
    @pytest.mark.parametrize(
        ("who", "objective", "origin"),
        [
            ("vip-customer-123", "99.99", "tenant"),
            ("vip-customer-456", "99.95", "tier"),
            ("hooli", "99.5", "default"),
            (None, "99.5", "default"),
        ],
    )
    def test_says_where_the_objective_comes_from(self, who: str | None, objective: str, origin: str) -> None:
        found = explain(STACK, AVAILABILITY, tenant(who) if who else None)
        assert (found.objective_percent, found.origin) == (Decimal(objective), origin)

    def test_lists_what_was_promised_to_whom_and_counts_each_tenant_once(self) -> None:
        found = [(p.whom, str(p.objective_percent), p.tenants) for p in explain(STACK, AVAILABILITY).promises]
        assert found == [
            ("default", "99.5", 2),
            ("pro", "99.9", 3),
            ("enterprise", "99.95", 2),
            ("vip-customer-123", "99.99", 1),
        ]

    def test_the_budget_is_in_seconds_and_in_events(self) -> None:
        found = explain(STACK, AVAILABILITY, tenant("acme"), Decimal(100))
        assert found.budget_seconds == Decimal("2592")
        assert (found.traffic[0].events_in_window, found.traffic[0].allowed_bad) == (72000, 72)

    def test_excluded_windows_are_told_in_words_to_those_they_concern(self) -> None:
        stack = stack_of(LCOPILOT)
        everyone = explain(stack, stack.slos[0]).exclusions
        assert everyone == (
            "patching: every Sun at 02:00 (Europe/Berlin) for 30m, for all tenants, availability, status_page",
            "migration: once, 2026-12-05 21:00 to 2026-12-06 01:00 UTC, for customer-enterprise-001, availability",
        )
        assert len(explain(stack, stack.slos[0], tenant("customer-pro-001", stack)).exclusions) == 1
        assert explain(stack, stack.slos[1]).exclusions == ()

    def test_monthly_windows_are_told_in_words(self) -> None:
        window = Maintenance("m", Recurring((), 1, 4 * HOUR, 90 * MINUTE, "UTC"), ("acme",), (), True)
        assert maintenance_words(window) == "on day 1 of each month at 04:00 (UTC) for 90m, for acme"

    def test_what_is_counted_is_told_for_every_kind_of_source(self) -> None:
        stack = stack_of(LCOPILOT)
        share = replace(AVAILABILITY, source=RawRatio(Query("quality{x='1'}"), "good"))
        found = [explain(stack, slo).counts for slo in (*stack.slos[1:3], share)]
        assert found == [
            ("requests of the histogram http_request_duration_seconds", "good within 2s (pro 1s, enterprise 500ms)"),
            ("samples of the probe status_page_up: 1 is good",),
            ("share of good events: quality{x='1'}; each minute weighs the same",),
        ]
        assert explain(STACK, share).unit == "minute"
        assert explain(STACK, share).traffic[0].per_hour == 60

    def test_guards_are_told_in_words(self) -> None:
        guards = [BurnGuard(), BurnGuard("none"), BurnGuard("counts", 5, 100), BurnGuard("counts", 0, 9)]
        assert [explain(STACK, replace(AVAILABILITY, guard=guard)).guard for guard in guards] == [
            "95 % sure: bad - 1.645 sqrt(bad) must exceed the limit",
            "none: one bad event may fire",
            "at least 5 bad and 100 in all in the long window",
            "at least 9 in all in the long window",
        ]

    def test_calendar_windows_have_their_zone(self) -> None:
        stack = stack_of(LCOPILOT)
        assert explain(stack, stack.slos[0]).window == "the calendar month (Europe/Berlin)"

    def test_composites_say_what_they_add_up(self) -> None:
        stack = stack_of(LCOPILOT)
        assert explain(stack, stack.slos[1]).composites == ("experience",)
        found = explain_composite(stack, stack.composites[0], tenant("customer-enterprise-001", stack))
        assert (found.lowest_percent, found.highest_percent) == (Decimal(95), Decimal("99.9"))
        assert found.window == "the last 30d"

    def test_the_overview_has_every_slo_and_composite(self) -> None:
        lines = overview(stack_of(LCOPILOT))
        assert [line.name for line in lines] == [
            "availability",
            "response_time",
            "status_page",
            "resolution",
            "experience",
        ]
        assert [line.window for line in lines[2:]] == ["30d", "quarter (UTC)", "30d"]
        assert [line.alerts for line in lines[1:4]] == ["page 1h, ticket 3d", "page 6h, ticket 1d 3d", "none"]


class TestAlerts:
    def test_each_tier_has_its_factor_and_its_share_of_errors(self) -> None:
        found = explain(STACK, AVAILABILITY, tenant("acme")).burn
        assert [(t.severity, str(t.factor), t.error_ratio) for t in found] == [
            ("page", "14.4", Decimal("0.0144")),
            ("page", "6", Decimal("0.006")),
            ("ticket", "3", Decimal("0.003")),
            ("ticket", "1", Decimal("0.001")),
        ]

    def test_a_tenant_sees_who_is_told_of_it(self) -> None:
        def told(who: str) -> list[tuple[str, int | None]]:
            found = explain(STACK, AVAILABILITY, tenant(who)).burn
            return [(one.receiver, one.respond_within_seconds) for tier in found[1:3] for one in tier.notified]

        assert told("vip-customer-456") == [("vip-pager", 300), ("ops-channel", 1800)]
        assert told("acme") == [("ops-channel", 1800), ("ops-channel", 1800)]

    def test_without_a_tenant_vips_and_others_are_told_apart_only_where_they_differ(self) -> None:
        page, *_, ticket = explain(STACK, AVAILABILITY).burn
        assert [(one.whom, one.receiver, one.grouped_for_seconds) for one in page.notified] == [
            ("VIPs", "vip-pager", 5),
            ("others", "ops-channel", 30),
        ]
        assert [(one.whom, one.receiver) for one in ticket.notified] == [("all tenants", "ops-channel")]

    def test_tiers_that_are_off_say_what_they_would_need(self) -> None:
        stack = stack_of(LCOPILOT)
        response, page, resolution = stack.slos[1:]
        assert [(off.long_seconds, off.error_ratio) for off in explain(stack, response).off] == [
            (6 * HOUR, Decimal("0.3")),
            (24 * HOUR, Decimal("0.15")),
        ]
        assert [off.long_seconds for off in explain(stack, page).off] == [HOUR]
        assert [off.error_ratio >= 1 for off in explain(stack, resolution).off] == [True, True, False, False]

    def test_a_table_of_its_own_has_no_tiers_off(self) -> None:
        own = replace(AVAILABILITY, burn=(replace(AVAILABILITY.burn[0], long_seconds=7200),))
        assert explain(STACK, own).off == ()


class TestVerdict:
    def test_supported_traffic_gets_one_sentence_and_no_advice(self) -> None:
        found = at(AVAILABILITY, "1000", "acme")
        assert found.supported
        assert found.verdict == (
            "At 1,000 requests an hour a 100 % failure pages after about 4 minutes; "
            "a 10 % failure pages after about 16 minutes.",
        )

    def test_too_little_traffic_is_told_in_plain_words_with_what_helps(self) -> None:
        found = at(AVAILABILITY, "1", "acme")
        assert not found.supported
        assert found.verdict == (
            "At 1 request an hour a 100 % failure pages after about 2.7 hours; a 10 % failure never pages, and opens "
            "a ticket only after more than 12 hours; one bad request spends 139 % of the 30d budget.",
            "What helps: add a probe (`probe:` with a gauge of 0 and 1): sampled every 15s, it tells of a total "
            "failure after about 5 minutes; or a longer window: within 42d the budget allows one bad request; or a "
            "lower objective: 99.86 % allows one bad request within 30d.",
            'Read the 3 tenants of "pro" together: '
            'tier_slo:error_budget_remaining:ratio{slo="availability",tier="pro"}.',
        )

    def test_what_it_advises_is_true(self) -> None:
        longer = replace(AVAILABILITY, window_seconds=42 * 86400)
        assert at(longer, "1", "acme").allowed_bad >= 1
        assert at(replace(AVAILABILITY, window_seconds=41 * 86400), "1", "acme").allowed_bad < 1
        lower = replace(AVAILABILITY, by_tier=(("pro", Decimal("99.86")),))
        assert at(lower, "1", "acme").allowed_bad >= 1

    def test_no_longer_window_and_no_lower_objective_where_the_budget_is_large_enough(self) -> None:
        found = at(AVAILABILITY, "1", "hooli")
        assert found.allowed_bad >= 1
        assert not found.supported  # because of the 2.5 hours and more to the page
        text = " ".join(found.verdict)
        assert "add a probe" in text
        assert "longer window" not in text
        assert "lower objective" not in text

    def test_no_longer_window_where_ninety_days_do_not_help_or_the_calendar_rules(self) -> None:
        assert "longer window" not in " ".join(at(AVAILABILITY, "1", "vip-customer-123").verdict)
        monthly = replace(AVAILABILITY, calendar=Calendar("month", "UTC"))
        text = " ".join(at(monthly, "1", "acme").verdict)
        assert "longer window" not in text
        assert "within a month" in text
        assert "of the month's budget" in text

    def test_windows_of_up_to_ninety_days_are_advised(self) -> None:
        assert "within 90d" in " ".join(at(AVAILABILITY, "0.463", "acme").verdict)
        assert "longer window" not in " ".join(at(AVAILABILITY, "0.4629", "acme").verdict)

    def test_no_objective_is_advised_that_is_none(self) -> None:
        slo = replace(AVAILABILITY, window_seconds=24 * HOUR)
        assert "a lower objective: 50 %" in " ".join(at(slo, "0.08334", "acme").verdict)
        assert "lower objective" not in " ".join(at(slo, "0.08", "acme").verdict)

    def test_twelve_hours_are_the_longest_that_is_told(self) -> None:
        """An alert over a day that needs 2.67 events: at one in 4.4 hours it comes in time, at one in 4.6 not."""
        slo = replace(AVAILABILITY, burn=(replace(AVAILABILITY.burn[0], long_seconds=24 * HOUR),))
        early, late = (at(slo, rate, "acme").verdict[0] for rate in ("0.226", "0.22"))
        assert "a 100 % failure pages after about 11.9 hours" in early
        assert "a 100 % failure pages only after more than 12 hours" in late

    def test_no_probe_for_a_probe(self) -> None:
        probe = replace(AVAILABILITY, source=Probe(Selector("up")))
        assert "add a probe" not in " ".join(at(probe, "1", "acme").verdict)

    def test_no_roll_up_for_a_tenant_alone_in_its_tier(self) -> None:
        alone = replace(STACK, tenants=(tenant("acme"), tenant("hooli")))
        assert "together" not in " ".join(at(AVAILABILITY, "1", "acme", alone).verdict)

    def test_a_guard_that_wants_more_events_than_there_are_is_named(self) -> None:
        counts = replace(AVAILABILITY, guard=BurnGuard("counts", 1, 50))
        found = at(counts, "10", "acme")
        assert [each.bad for each in found.needed] == [None, 1, 1, 1]
        assert "The alert over 1h cannot fire: its guard wants 50 requests, there are 10." in found.verdict

    def test_silence_is_said_where_no_alerts_are_on(self) -> None:
        found = at(replace(AVAILABILITY, burn=()), "100", "acme")
        assert found.verdict == ("At 100 requests an hour nobody is told, since no alerts are on.",)
        assert found.supported

    def test_alerts_that_could_not_tell_are_rightly_off(self) -> None:
        stack = stack_of(LCOPILOT)
        resolution = stack.slos[3]
        few, many = at(resolution, "0.01", stack=stack), at(resolution, "10", stack=stack)
        assert few.verdict == (
            "At 0.01 requests an hour nobody is told, since no alerts are on; one bad request spends 46 % of the "
            "quarter's budget.",
            "The usual alerts could not tell either: over 3d it takes 4 bad requests, and 0.72 come.",
        )
        assert many.verdict == ("At 10 requests an hour nobody is told, since no alerts are on.",)

    def test_only_tickets_are_told_as_tickets(self) -> None:
        tickets = replace(AVAILABILITY, burn=AVAILABILITY.burn[2:])
        assert "a 100 % failure opens a ticket after about" in at(tickets, "1000", "acme").verdict[0]

    def test_a_budget_of_exactly_one_bad_event_is_enough(self) -> None:
        slo = replace(AVAILABILITY, burn=(), window_seconds=200 * HOUR)
        found = at(slo, "1", "hooli")
        assert found.allowed_bad == 1
        assert found.supported

    def test_the_least_traffic_that_is_supported_is_the_least(self) -> None:
        least = explain(STACK, AVAILABILITY, tenant("acme")).supported_from_per_hour
        assert least is not None
        assert at(AVAILABILITY, str(least), "acme").supported
        assert not at(AVAILABILITY, str(least * Decimal("0.85")), "acme").supported

    def test_a_source_with_a_pace_of_its_own_needs_no_table(self) -> None:
        stack = stack_of(LCOPILOT)
        page = stack.slos[2]
        assert [each.per_hour for each in explain(stack, page).traffic] == [240]
        assert explain(stack, page).unit == "sample"
        assert [int(each.per_hour) for each in explain(STACK, AVAILABILITY).traffic] == [1, 10, 100, 1000, 10000]

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (None, "never"),
            (60, "60 seconds"),
            (120, "2 minutes"),
            (240, "4 minutes"),
            (7199, "120 minutes"),
            (7200, "2 hours"),
            (9720, "2.7 hours"),
            (172800, "2 days"),
        ],
    )
    def test_times_are_said_as_people_say_them(self, seconds: int | None, text: str) -> None:
        assert spoken_time(seconds) == text

    def test_numbers_keep_the_digits_that_matter(self) -> None:
        shown = [percent(Decimal(each)) for each in ("0.0144", "0.3", "1", "0.0001", "4.368")]
        assert shown == ["1.44 %", "30 %", "100 %", "0.01 %", "437 %"]
        amounts = [amount(Decimal(each)) for each in ("72000", "7.21", "0.072", "1388.9", "10")]
        assert amounts == ["72,000", "7.2", "0.072", "1,389", "10"]


class TestCost:
    def test_is_that_of_the_emitted_file(self) -> None:
        for stack in (STACK, stack_of(LCOPILOT)):
            files = {file.path: file.text for file in compile_stack(stack, Site(), "")}
            for slo in stack.slos:
                text = files[f"rules/slo-{slo.name}.yml"]
                groups = yaml.safe_load(text)["groups"]
                rules = [rule for group in groups for rule in group["rules"]]
                found = cost(stack, slo)
                assert found.rule_file_bytes == len(text.encode())
                assert (found.rules, found.groups) == (len(rules), len(groups))
                assert found.series_per_tenant == len({rule["record"] for rule in rules if "record" in rule})

    def test_rules_do_not_grow_with_tenants_and_samples_do(self) -> None:
        twice = replace(STACK, tenants=(*STACK.tenants, *(replace(t, id=f"{t.id}-2") for t in STACK.tenants)))
        one, two = cost(STACK, LATENCY), cost(twice, LATENCY)
        assert two.rules == one.rules
        assert two.rule_file_bytes == one.rule_file_bytes
        assert two.series == 2 * one.series
        assert two.samples_per_30s == pytest.approx(2 * one.samples_per_30s, rel=0.001)

    def test_counts_the_samples_of_every_selector_once_for_each_time_it_stands_there(self) -> None:
        """With tickets and pages off: the budget's two sums over 30 days, and what is read for 5m, 1h and tiles."""
        quiet = replace(STACK, tenants=STACK.tenants[:1], slos=(replace(LATENCY, burn=()),))
        expected = {
            "fast": 20 + (1 + 20 + 1) + (2 + 30 + 2) + 3 + (120 + 120 + 1),
            "tile": 10 + 10,
            "slow": 8640 + (8640 + 1 + 1),
        }
        # The objective of a tenant is in a series of its own only where it is not the default: 30 samples less.
        expected["fast"] -= 30
        found = cost(quiet, quiet.slos[0])
        assert found.samples_at_once == sum(expected.values())
        assert found.samples_per_30s == round(expected["fast"] + expected["tile"] / 10 + expected["slow"] / 4)
        assert found.scraped_samples_per_30s == 40

    def test_shards_repeat_the_rules_and_read_the_same_samples(self) -> None:
        whole, cut = cost(STACK, LATENCY), cost(replace(STACK, shards=3), LATENCY)
        assert (cut.rules, cut.groups, cut.rule_files) == (3 * whole.rules, 3 * whole.groups, 3)
        assert cut.series == whole.series
        assert cut.samples_at_once == whole.samples_at_once

    def test_facts_count_for_the_tenants_that_they_are_about(self) -> None:
        """Tier membership is read over an hour of facts, recorded every two minutes: 30 samples for each member."""
        pro = replace(STACK, slos=(replace(AVAILABILITY, by_tier=(("pro", Decimal("99.9")),)),))
        plain = replace(STACK, slos=(replace(AVAILABILITY, by_tier=()),))
        facts = 3 * 30  # three tenants are pro
        listed = len(STACK.tenants)
        difference = cost(pro, pro.slos[0]).samples_at_once - cost(plain, plain.slos[0]).samples_at_once
        assert difference == facts + 2 * listed  # and one more look at the traffic of everybody, now and so far

    def test_sees_through_subqueries(self) -> None:
        [found] = selections("sum by (tenant_id) (max_over_time(rate(x[5m])[1h:5m]))")
        assert (found.name, found.range_seconds, found.points) == ("x", 300, 12)

    def test_a_subquery_reads_its_samples_at_every_step(self) -> None:
        def samples(text: str) -> int:
            assert isinstance(AVAILABILITY.source, Ratio)
            slo = replace(AVAILABILITY, source=replace(AVAILABILITY.source, total=Query(text)))
            return cost(replace(STACK, slos=(slo,)), slo).samples_at_once

        once = samples("max by (tenant_id) (rate(x[1m]))")
        stepped = samples("max by (tenant_id) (max_over_time(rate(x[1m])[10m:2m]))")
        # 5 steps instead of one, of 4 samples each: once for the rate over 5m, twice for that over 30m.
        assert stepped - once == (5 - 1) * 4 * len(STACK.tenants) * 3
        unsaid = samples("max by (tenant_id) (max_over_time(rate(x[1m])[10m:]))")
        assert unsaid - once == (20 - 1) * 4 * len(STACK.tenants) * 3  # at the pace of the evaluations, 30s


# -- the command


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


class TestCommand:
    @pytest.mark.parametrize("definitions", [AETHER, LCOPILOT])
    def test_fits_a_hundred_columns(self, definitions: Path) -> None:
        stack = stack_of(definitions)
        pages = [(definitions,), *((definitions, each.name) for each in (*stack.slos, *stack.composites))]
        for words in (*pages, (definitions, stack.slos[0].name, "--tenant", stack.tenants[0].id)):
            done = run(*words)
            assert done.exit_code == 0, done.output
            assert max(len(line.rstrip()) for line in done.output.splitlines()) <= 100

    def test_shows_alerts_times_and_costs(self) -> None:
        text = " ".join(run(AETHER, "availability", "--tenant", "acme", "--requests-per-hour", "100").output.split())
        assert "availability for acme (pro)" in text
        assert "99.9 % over the last 30d, of its tier" in text
        assert "43 minutes of total failure; at 100 requests an hour 72 bad of 72,000 requests" in text
        assert "page 1h and 5m 14.4x 1.44 % 5m ops-channel (Slack), within 30m" in text
        assert "at 100/h 6 of 100 9 of 600 14 of 2,400 14 of 7,200 72" in text
        assert "✓ at 100/h ██······ 6m ████···· 36m not within 12h" in text
        assert "19 rules in 3 groups, for any number of tenants" in text

    def test_the_document_shows_what_it_really_says(self) -> None:
        document = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
        said = run(AETHER, "availability", "--tenant", "vip-customer-123").output
        shown = "\n".join(line.rstrip() for line in said.splitlines())
        assert shown.partition("\ncosts")[0] in document  # costs follow every rule that is added

    def test_says_never_and_not_within_twelve_hours(self) -> None:
        text = run(AETHER, "availability", "--tenant", "vip-customer-123").output
        rows = [" ".join(line.split()) for line in text.splitlines() if line.startswith(("✗", "✓ at"))]
        assert rows == [
            "✗ at 1/h ██████·· 2h 42m not within 12h never",
            "✗ at 10/h ████···· 18m ██████·· 2h 42m never",
            "✓ at 100/h ██······ 4m ████···· 18m never",
            "✓ at 1,000/h █······· 2m ██······ 6m not within 12h",
            "✓ at 10,000/h █······· 2m ██······ 4m not within 12h",
        ]
        assert "at 10,000/h 23 of 10k 48 of 60k 88 of 240k 88 of 720k 720" in " ".join(text.split())

    def test_definitions_without_slos_are_answered_as_such(self, tmp_path: Path) -> None:
        bare = changed_copy(tmp_path, {})
        text = (bare / "slos.yml").read_text()
        (bare / "slos.yml").write_text(re.sub(r"(?ms)^slos:.*?^thresholds:", "thresholds:", text))
        tenants = (bare / "tenants.yml").read_text()
        (bare / "tenants.yml").write_text(tenants.replace(", objectives: {availability: 99.99}", ""))
        done = run(bare)
        assert (done.exit_code, done.stdout) == (0, "these definitions have no SLOs.\n")
        assert "There are: none." in run(bare, "x").output

    def test_colours_say_how_soon(self) -> None:
        console = Console(file=(out := io.StringIO()), width=100, force_terminal=True, color_system="standard")
        console.print(explanation_view(explain(STACK, AVAILABILITY)))
        shown = out.getvalue()
        assert re.search("\x1b\\[32m██······\x1b\\[0m 8m ", shown)
        assert re.search("\x1b\\[33m█████···\x1b\\[0m 56m ", shown)
        assert re.search("\x1b\\[31m██████··\x1b\\[0m 2h 42m", shown)

    def test_advises_only_where_traffic_does_not_support_the_objective(self) -> None:
        table = run(AETHER, "availability").output
        assert "! At 1 request an hour" in table
        assert "At 10 requests an hour" not in table
        assert "✓ At 10 requests an hour" in run(AETHER, "availability", "--requests-per-hour", "10").output

    def test_names_the_files_of_the_rules(self, tmp_path: Path) -> None:
        assert "rules/slo-latency.yml" in run(AETHER, "latency").output
        sharded = changed_copy(tmp_path, {"stack.yml": {"retention: 35d": "shards: 2\nretention: 35d"}})
        assert "rules/slo-latency-*.yml" in run(sharded, "latency").output

    def test_says_why_nobody_is_told(self) -> None:
        text = run(LCOPILOT, "resolution").output
        assert text.count("off: could never fire") == 2
        assert "off: could never fire" in text
        assert "Nobody is told of failures: no alerts are on." in text

    def test_json_has_numbers_and_seconds(self) -> None:
        found = json.loads(run(AETHER, "availability", "--tenant", "acme", "--format", "json").output)
        assert (found["objective_percent"], found["origin"]) == (99.9, "tier")
        assert [row["per_hour"] for row in found["traffic"]] == [1, 10, 100, 1000, 10000]
        assert found["traffic"][0]["detections"][1]["page_seconds"] is None
        assert found["cost"]["rules"] == 19
        assert json.loads(run(LCOPILOT, "experience", "--format", "json").output)["of"][0] == "response_time"
        assert [row["name"] for row in json.loads(run(LCOPILOT, "--format", "json").output)][-1] == "experience"

    @pytest.mark.parametrize(
        ("words", "answer"),
        [
            (("availabilty",), "there is no SLO availabilty. Did you mean availability?"),
            (("zzz",), "There are: availability, latency."),
            (("latency", "--tenant", "acne"), "there is no tenant acne in the definitions. Did you mean acme?"),
            (("latency", "--tenant", "\x1b[31m"), "there is no tenant \\x1b[31m"),
            (("latency", "--requests-per-hour", "0"), "0 is not a number of requests an hour"),
            (("latency", "--requests-per-hour", "-5"), "-5 is not a number of requests an hour"),
            (("latency", "--requests-per-hour", "NaN"), "NaN is not a number of requests an hour"),
            (("latency", "--requests-per-hour", "1e99"), "1e99 is not a number of requests an hour"),
            (("latency", "--prometheus", "http://127.0.0.1:9"), "name it with --tenant"),
            (("latency", "--requests-per-hour", "many"), "many is not a number of requests an hour"),
            (("--tenant", "acme"), "name one SLO to explain: availability, latency."),
        ],
    )
    def test_wrong_usage_is_answered_with_what_to_do(self, words: tuple[str, ...], answer: str) -> None:
        done = run(AETHER, *words)
        assert done.exit_code == 2
        assert answer in done.output

    def test_faulty_definitions_are_shown_and_nothing_else(self, tmp_path: Path) -> None:
        faulty = changed_copy(tmp_path, {"slos.yml": {"objective: 99\n": "objective: 100\n"}})
        done = run(faulty, "latency")
        assert done.exit_code == 1
        assert "B114" in done.output
        assert done.stdout == ""

    def test_texts_of_definitions_cannot_steer_a_terminal(self, tmp_path: Path) -> None:
        evil = changed_copy(tmp_path, {"slos.yml": {"Requests that are answered within": '"\\u202e[red]x'}})
        evil_text = (evil / "slos.yml").read_text().replace("[red]x one second", '[red]x one second"')
        (evil / "slos.yml").write_text(evil_text)
        done = run(evil, "latency")
        assert "\u202e" not in done.stdout
        if done.exit_code == 0:
            assert "[red]x" in done.stdout

    def test_reads_the_traffic_of_the_tenant_from_prometheus(self) -> None:
        with prometheus("0.05") as (url, queries):
            done = run(AETHER, "availability", "--tenant", "acme", "--prometheus", url)
            assert done.exit_code == 0, done.output
            assert queries == ['tenant_slo:total:rate5m{slo="availability",tenant_id="acme"} * 3600']
            assert "at 180 requests an hour" in done.output

    def test_says_so_when_prometheus_has_no_traffic_or_does_not_answer(self) -> None:
        with prometheus(None) as (url, _):
            done = run(AETHER, "availability", "--tenant", "acme", "--prometheus", url)
            assert (done.exit_code, "acme has no traffic now" in done.output) == (1, True)
        done = run(AETHER, "availability", "--tenant", "acme", "--prometheus", url)
        assert (done.exit_code, "Give the traffic with --requests-per-hour." in done.output) == (1, True)


@contextmanager
def prometheus(rate: str | None) -> Iterator[tuple[str, list[str]]]:
    """A server that has one answer; the query is multiplied as Prometheus would."""
    queries: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            from urllib.parse import parse_qs, urlsplit

            queries.append(parse_qs(urlsplit(self.path).query)["query"][0])
            rows = [] if rate is None else [{"metric": {}, "value": [0, str(float(rate) * 3600)]}]
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", queries
    finally:
        server.shutdown()
        server.server_close()
