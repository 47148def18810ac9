"""What people see: it fits, it says in symbols what it says in colours, and nobody else's text can steer it."""

from __future__ import annotations

import io
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from reliary_stack.engines.engine import EngineError, Part
from reliary_stack.status import (
    Firing,
    IndicatorStatus,
    ObjectiveStatus,
    PartsUp,
    Reading,
    StackStatus,
    Status,
    TenantStatus,
)
from reliary_stack.view import clean, failure, parts_table, progress, status_view

STEERING = "\x1b[31mred\x1b]0;title\x07 \u202etxt.exe [bold]no markup[/bold] [/]"

ACME = TenantStatus(
    id="vip-customer-123",
    name="Northwind Insurance",
    tier="enterprise",
    vip=True,
    objectives=(
        ObjectiveStatus("availability", Decimal("99.99"), Reading(14.4, "bad"), Reading(-1.0, "bad")),
        ObjectiveStatus("latency", Decimal(99), Reading(1.5, "warning"), Reading(0.98, "good")),
    ),
    indicators=(
        IndicatorStatus("cache_hit_ratio", False, Reading(0.62, "good")),
        IndicatorStatus("rerank_utilization_pct", True, Reading(45.2, "plain")),
        IndicatorStatus("lowconfidence_pct", True, Reading(None, "unknown")),
    ),
    health_score=Reading(59, "bad"),
    cost_30d_usd=Reading(12345, "bad"),
    firing=(Firing("SloBudgetBurn", "page"),),
)
STACK = StackStatus((PartsUp("prometheus", 1, 1), PartsUp("api", 1, 2)), Reading(0, "good"), (), ())
EMPTY = Reading(None, "unknown")


def status(*tenants: TenantStatus, more: int = 0, stack: StackStatus = STACK) -> Status:
    return Status(stack, tenants, more)


def shown(view: RenderableType, width: int = 100) -> str:
    console = Console(file=(out := io.StringIO()), width=width)
    console.print(view)
    return out.getvalue()


def coloured(view: RenderableType) -> str:
    console = Console(file=(out := io.StringIO()), width=100, force_terminal=True, color_system="standard")
    console.print(view)
    return out.getvalue()


def line_of(text: str, word: str) -> str:
    [line] = [line for line in text.splitlines() if word in line]
    return line


class TestStatus:
    def test_fits_a_hundred_columns_on_one_line_a_tenant(self) -> None:
        text = shown(status_view(status(*[replace(ACME, firing=())] * 8)))
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
        assert text.count("vip-customer-123 ★") == 8
        line = next(line for line in text.splitlines() if "vip-customer-123" in line)
        expected = "vip-customer-123 ★ enterprise ✗14.4 ✗-100% !1.5 98% 0.62 45.2% – ✗59 ✗$12k"
        assert " ".join(line.split()) == expected

    def test_names_its_columns_in_full_where_it_can(self) -> None:
        first, second = shown(status_view(status(ACME))).splitlines()[:2]
        assert first.split() == ["availability", "latency", "cache", "rerank", "cost"]
        expected = "tenant tier burn left burn left hit utilization lowconfide… health 30 d"
        assert " ".join(second.split()) == expected

    def test_shows_no_data_as_a_dash_and_never_as_zero(self) -> None:
        silent = replace(
            ACME,
            objectives=(ObjectiveStatus("latency", Decimal(99), EMPTY, EMPTY),),
            indicators=(IndicatorStatus("cache_hit_ratio", False, EMPTY),),
            health_score=EMPTY,
            cost_30d_usd=EMPTY,
        )
        assert line_of(shown(status_view(status(silent))), "★ ent").split()[4:] == ["–"] * 5

    @pytest.mark.parametrize(("state", "said"), [("no data", "no data"), ("excluded", "maintenance")])
    def test_says_why_an_objective_has_no_value(self, state: str, said: str) -> None:
        objective = ObjectiveStatus("latency", Decimal(99), EMPTY, EMPTY, state)
        line = line_of(shown(status_view(status(replace(ACME, objectives=(objective,))))), "★ ent")
        assert f"enterprise {said} " in " ".join(line.split()) + " "

    def test_leaves_out_what_the_stack_does_not_have(self) -> None:
        bare = replace(ACME, objectives=(), indicators=(), health_score=None, cost_30d_usd=None)
        text = shown(status_view(status(bare)))
        assert "health" not in text
        assert "cost" not in text

    def test_cuts_names_and_never_numbers(self) -> None:
        objective = ObjectiveStatus("x" * 50, Decimal(99), Reading(14400, "bad"), Reading(-14400, "bad"))
        text = shown(status_view(status(replace(ACME, id="t" * 80, tier="y" * 50, objectives=(objective,) * 2))))
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
        line = next(line for line in text.splitlines() if "ttt" in line)
        assert " ".join(line.split()[2:]) == "yyyyyyyyy… ✗>999 ✗-999% ✗>999 ✗-999% 0.62 45.2% – ✗59 ✗$12k"

    def test_shows_long_names_in_full_where_there_is_room(self) -> None:
        assert "t" * 80 in shown(status_view(status(replace(ACME, id="t" * 80)), width=200), width=200)

    def test_marks_with_a_symbol_what_it_colours(self) -> None:
        text = coloured(status_view(status(ACME)))
        assert "\x1b[1;31m✗14.4" in text
        assert "\x1b[33m!1.5" in text

    def test_lists_alerts_with_their_tenants(self) -> None:
        rows = [replace(ACME, id=f"t{number}") for number in range(7)]
        text = shown(status_view(status(*rows)))
        assert "✗ SloBudgetBurn page: t0, t1, t2, t3, t4 and 2 more" in text

    def test_lists_alerts_of_the_stack_itself(self) -> None:
        stack = replace(STACK, firing=(Firing("ExporterDown", "warning"),))
        text = shown(status_view(status(replace(ACME, firing=()), stack=stack)))
        assert "✗ ExporterDown warning\n" in text
        assert "no alerts" not in text

    def test_says_when_nothing_fires(self) -> None:
        assert "✓ no alerts are firing" in shown(status_view(status(replace(ACME, firing=()))))

    def test_says_how_the_stack_itself_is(self) -> None:
        stack = replace(STACK, rule_failures_1h=Reading(3, "bad"), unlisted=("zorro",))
        text = shown(status_view(status(ACME, stack=stack)))
        assert "✓ prometheus  ✗ api 1/2" in text
        assert "✗ 3 rule evaluations failed" in text
        assert "! not in the definitions: zorro" in text

    def test_says_when_it_knows_nothing_of_the_stack(self) -> None:
        text = shown(status_view(status(stack=StackStatus((), EMPTY, (), ()))))
        assert "! nothing is scraped" in text
        assert "– no data on rule failures" in text

    def test_says_how_many_more_there_are(self) -> None:
        assert "and 60 more tenants" in shown(status_view(status(ACME, more=60)))

    def test_cannot_be_steered_by_labels(self) -> None:
        row = replace(ACME, id=STEERING, tier=STEERING, firing=(Firing(STEERING, STEERING),))
        stack = replace(STACK, jobs=(PartsUp(STEERING, 1, 1),), unlisted=(STEERING,))
        text = shown(status_view(status(row, stack=stack)), width=1000)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[bold]no markup[/bold]" in text


class TestProgress:
    PARTS = (
        Part("prometheus", "http://127.0.0.1:9090", "starting", "does not answer yet"),
        Part("prometheus", "http://127.0.0.1:9090", "starting", "does not answer yet"),
        Part("prometheus", "http://127.0.0.1:9090", "healthy"),
    )

    def test_is_one_line_a_change_when_nobody_watches(self) -> None:
        out = io.StringIO()
        with progress(Console(file=out)) as report:
            for part in self.PARTS:
                report(part)
        assert out.getvalue().splitlines() == [
            "prometheus starting http://127.0.0.1:9090 does not answer yet",
            "prometheus healthy http://127.0.0.1:9090",
        ]

    def test_does_not_wrap_lines_for_a_log_file(self) -> None:
        out = io.StringIO()
        with progress(Console(file=out, width=20)) as report:
            report(self.PARTS[0])
        assert len(out.getvalue().splitlines()) == 1

    def test_moves_on_a_terminal_and_cleans_up(self) -> None:
        out = io.StringIO()
        console = Console(file=out, force_terminal=True, width=100)
        with progress(console) as report:
            for part in self.PARTS:
                report(part)
        assert "prometheus" in out.getvalue()
        assert "\x1b[?25h" in out.getvalue(), "the cursor is shown again"

    def test_honours_no_color(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        console = Console(file=(out := io.StringIO()), force_terminal=True, color_system="standard")
        console.print(parts_table([Part("api", "url", "failed"), Part("db", "url", "healthy")]))
        assert "\x1b[3" not in out.getvalue()
        assert "✗" in out.getvalue()
        assert "✓" in out.getvalue()

    def test_cannot_be_steered_by_details(self) -> None:
        with progress(Console(file=(out := io.StringIO()))) as report:
            report(Part("x", "y", "starting", STEERING))
        assert "\x1b" not in out.getvalue()
        assert "[bold]" in out.getvalue()


class TestFailure:
    def test_names_the_part_its_last_lines_and_the_next_step(self) -> None:
        error = EngineError("prometheus", "ended", "Correct it.", ("level=error", "bad [yaml]"))
        assert shown(failure(error)).splitlines() == [
            "✗ prometheus ended",
            "  │ level=error",
            "  │ bad [yaml]",
            "Correct it.",
        ]

    def test_cannot_be_steered_by_log_lines(self) -> None:
        assert "\x1b" not in shown(failure(EngineError("x", STEERING, STEERING, (STEERING,))))


@given(st.text())
def test_clean_text_has_nothing_that_moves_a_cursor(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    assert not any(char < " " or "\x7f" <= char <= "\x9f" or "\u202a" <= char <= "\u202e" for char in cleaned)
    assert all(after in (before, " ") for before, after in zip(text, cleaned, strict=True))
