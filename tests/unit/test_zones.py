"""Clocks of zones as PromQL show what clocks of zones show, to the second; so do months and quarters."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reliary import zones
from reliary.artifacts import Recording
from reliary.model import Stack
from reliary.slo import calendars
from slolab import Prometheus, prometheus, stack_from, zone

FIRST = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
END = int(datetime(2046, 1, 1, tzinfo=UTC).timestamp())
SOME_ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",  # half an hour off
    "America/Sao_Paulo",  # gave up its summer time
    "America/Asuncion",  # gave it up in 2024, in the middle of it
    "America/Nuuk",  # changed its offset in 2023
    "Asia/Kathmandu",  # a quarter of an hour off
    "Asia/Kolkata",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Africa/Casablanca",  # back for Ramadan
    "Africa/Cairo",
    "Africa/Juba",  # changed once
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Chatham",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Antarctica/Troll",  # two hours of summer time
    "Etc/GMT+12",
)
CALENDARS = [(unit, zone) for unit in ("month", "quarter") for zone in ("UTC", "Europe/Berlin", "Pacific/Chatham")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        yield running


def wall(name: str, instant: int) -> int:
    """Seconds that a clock of the zone shows."""
    return int(datetime.fromtimestamp(instant, zone(name)).replace(tzinfo=UTC).timestamp())


def changes(name: str) -> list[int]:
    """The first second of each new offset, found by asking Python about each hour."""
    of, found = zone(name), []
    before = datetime.fromtimestamp(FIRST, of).utcoffset()
    for hour in range(FIRST, END, 3600):
        now = datetime.fromtimestamp(hour, of).utcoffset()
        if now != before:
            start = next(at for at in range(hour - 3600, hour + 1) if datetime.fromtimestamp(at, of).utcoffset() == now)
            found.append(start)
        before = now
    return found


# -- clocks


@pytest.mark.parametrize("name", SOME_ZONES)
def test_clocks_show_the_local_time_all_the_years(name: str, server: Prometheus) -> None:
    """A thousand instants in 26 years, at ever other times of the day."""
    values = server.over(f"vector({zones.local_time(name)})", FIRST, END - 1, 765_433)
    assert len(values) > 1000
    assert [at for at, value in values.items() if value != wall(name, at)] == []


@pytest.mark.parametrize("name", SOME_ZONES)
def test_clocks_change_at_the_second(name: str, server: Prometheus) -> None:
    found = changes(name)
    for at in found:
        values = server.over(f"vector({zones.local_time(name)})", at - 2, at + 2, 1)
        assert values == {second: wall(name, second) for second in range(at - 2, at + 3)}
    assert len(found) == len(zones._shifts(name)[1])


@given(name=st.sampled_from([name for name in zones.names() if "/" in name]), at=st.integers(FIRST, END - 1))
@example(name="Europe/Berlin", at=1_774_745_999)
@example(name="Europe/Berlin", at=1_774_746_000)
@settings(max_examples=400, deadline=None)
def test_any_clock_at_any_time(name: str, at: int, server: Prometheus) -> None:
    assert server.at(f"vector({zones.local_time(name)})", at) == {frozenset(): wall(name, at)}


def test_every_zone_of_the_list_can_be_used() -> None:
    assert [name for name in zones.names() if zones.zone(name) is None] == []
    assert len(zones.names()) > 400


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Europe",
        "Europe/",
        "/Europe/Berlin",
        "../tzdata/zones",
        "Europe/../Europe/Berlin",
        "Europe/Berlin\n",
        "a\x00b",
    ],
)
def test_what_is_no_zone_is_none(name: str) -> None:
    assert zones.zone(name) is None


@pytest.mark.parametrize("name", SOME_ZONES)
def test_spans_tile_the_time(name: str) -> None:
    spans = list(zones.spans(name, END))
    assert spans[0][0] == FIRST
    assert spans[-1][1] == END
    assert all(end == start for (_, end, _), (start, _, _) in pairwise(spans))
    for start, end, offset in spans:
        assert {wall(name, at) - at for at in (start, (start + end) // 2, end - 1)} == {offset}


def test_clocks_are_recorded_once_and_only_where_they_shift() -> None:
    recorded = list(zones.clocks_of(["Europe/Berlin", "UTC", "Asia/Tokyo", "Europe/Berlin"], "x:local_time:seconds"))
    assert [dict(rule.labels)["zone"] for rule in recorded] == ["Europe/Berlin"]


# -- months and quarters


def calendar_rules(unit: str, name: str, tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    slos = (
        "slos:\n  availability: {bad: 'x_total{code=\"5\"}', total: x_total, objective: 99, "
        f"window: {unit}, zone: {name}}}\n"
    )
    settings_ = "stack: shop\nretention: 100d\nservices: {a: {scrape: [a:1]}}\n"
    stack: Stack = stack_from(tmp_path_factory.mktemp("calendar"), slos=slos, stack=settings_)
    return list(calendars.windows_of(stack))


def shown(server: Prometheus, rule: Recording, name: str) -> dict[int, float]:
    """What a rule records at some instant of each day, between two changes of the clocks with the offset of then.

    The clock itself is proven above; its fifty changes in every place of these rules take minutes to evaluate.
    """
    values: dict[int, float] = {}
    for start, end, offset in zones.spans(name, END):
        expr = re.sub(r'sum\(calendar:local_time:seconds\{zone="[^"]+"\}\)', f"vector(time() + {offset})", rule.expr)
        first = start + -(start - FIRST) % 86_399
        values |= server.over(expr, first, end - 1, 86_399)
    return values


def period(unit: str, local: datetime) -> tuple[int, int, int]:
    """Number of the month or quarter since the year 0, its length in days, and the days before this one."""
    months = [local.month] if unit == "month" else [(local.month - 1) // 3 * 3 + each for each in (1, 2, 3)]
    lengths = {month: calendar.monthrange(local.year, month)[1] for month in months}
    before = sum(length for month, length in lengths.items() if month < local.month)
    number = (12 * local.year + local.month - 1) // len(months)
    return number, sum(lengths.values()), before + local.day - 1


@pytest.mark.parametrize(("unit", "name"), CALENDARS)
def test_length_and_elapsed_share_of_every_period(
    unit: str, name: str, server: Prometheus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Months of 28 to 31 days, quarters of 90 to 92, in leap years and others."""
    rules = calendar_rules(unit, name, tmp_path_factory)
    by_name = {rule.record: rule for rule in rules}
    lengths = shown(server, by_name["slo:window:seconds"], name)
    shares = shown(server, by_name["slo:window_elapsed:ratio"], name)
    assert len(lengths) == len(shares) > 9000
    seen = set()
    for at, length in lengths.items():
        local = datetime.fromtimestamp(at, zone(name))
        _, days, gone = period(unit, local)
        assert length == 86400 * days, local
        passed = 86400 * gone + 3600 * local.hour + 60 * local.minute + local.second
        assert shares[at] == pytest.approx(passed / length, abs=1e-12), local
        assert 0 <= shares[at] < 1
        seen.add(days)
    assert seen == ({28, 29, 30, 31} if unit == "month" else {90, 91, 92})


@pytest.mark.parametrize(("unit", "name"), CALENDARS)
def test_every_moment_has_one_colour_and_neighbours_differ(
    unit: str, name: str, server: Prometheus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rules = [rule for rule in calendar_rules(unit, name, tmp_path_factory) if rule.record == "calendar:period:current"]
    assert [dict(rule.labels)["period"] for rule in rules] == [f"{unit}-{colour}" for colour in range(3)]
    colours = [shown(server, rule, name) for rule in rules]
    instants = range(FIRST, END - 1, 86_399)
    assert {at for colour in colours for at in colour} == set(instants)
    for at in instants:
        on = [number for number, colour in enumerate(colours) if colour.get(at) == 1]
        assert on == [period(unit, datetime.fromtimestamp(at, zone(name)))[0] % 3]


def test_a_month_begins_at_local_midnight(server: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In Berlin July begins at 22:00 UTC; in Chatham before Berlin has had lunch the day before."""
    for name, begins in (("Europe/Berlin", "2026-06-30 22:00"), ("Pacific/Chatham", "2026-06-30 11:15")):
        (share,) = [rule for rule in calendar_rules("month", name, tmp_path_factory) if "elapsed" in rule.record]
        clock = f"vector({zones.local_time(name)})"
        expr = share.expr.replace(f'sum(calendar:local_time:seconds{{zone="{name}"}})', clock)
        at = int(datetime.strptime(begins, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp())
        assert server.at(expr, at) == {frozenset(): 0}
        assert server.at(expr, at - 1)[frozenset()] > 0.99999
