"""Planned windows: when they are, by an independent reading of the clocks; and when rules see them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliary import maintenance, zones
from reliary.definitions.spec import read_definitions
from reliary.maintenance import Occurrence, active, occurrences, overlap
from reliary.model import Maintenance, Once, Recurring
from slolab import Prometheus, define, prometheus, stack_from, zone

DAY = 86400
WEEK = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
BERLIN, LORD_HOWE, ST_JOHNS = "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"
SOME_ZONES = ("UTC", BERLIN, LORD_HOWE, ST_JOHNS, "Asia/Kathmandu", "America/New_York", "Pacific/Chatham")
CHANGES = {
    # Both changes of the clocks of a year, in UTC.
    BERLIN: ("2026-03-29 01:00", "2026-10-25 01:00"),
    LORD_HOWE: ("2026-04-04 15:00", "2026-10-03 15:30"),
    ST_JOHNS: ("2026-03-08 05:30", "2026-11-01 04:30"),
}


def utc(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp())


def recurring(every: str, lasts: int, name: str = BERLIN) -> Recurring:
    """`Sun Mon 02:00`, `daily 02:00`, `day 31 02:00`."""
    *days, clock = every.split()
    hours, minutes = clock.split(":")
    weekdays = tuple(WEEK.index(day) for day in days if day in WEEK)
    month_day = int(days[1]) if days[0] == "day" else None
    return Recurring(weekdays, month_day, 3600 * int(hours) + 60 * int(minutes), lasts, name)


def is_on(when: Once | Recurring, at: int) -> bool:
    """By the clock on the wall: did a window start today or yesterday, and is it not over?"""
    if isinstance(when, Once):
        return when.start_seconds <= at < when.end_seconds
    local = datetime.fromtimestamp(at, zone(when.zone)).replace(tzinfo=None)
    for back in (0, 1):
        day = datetime(local.year, local.month, local.day) - timedelta(days=back)
        starts = day + timedelta(seconds=when.start_second)
        chosen = (not when.weekdays or int(day.strftime("%w")) in when.weekdays) and when.month_day in (None, day.day)
        if chosen and starts <= local < starts + timedelta(seconds=when.lasts_seconds):
            return True
    return False


@st.composite
def recurrings(draw: st.DrawFn) -> Recurring:
    kind = draw(st.sampled_from(["daily", "weekdays", "day"]))
    weekdays = tuple(sorted(draw(st.sets(st.integers(0, 6), min_size=1)))) if kind == "weekdays" else ()
    month_day = draw(st.integers(1, 31)) if kind == "day" else None
    minutes = draw(st.integers(0, 24 * 60 - 1))
    lasts = draw(st.sampled_from([1, 15, 30, 60, 61, 240, 1439, 1440]))
    return Recurring(weekdays, month_day, 60 * minutes, 60 * lasts, draw(st.sampled_from(SOME_ZONES)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        yield running


def seen(server: Prometheus, expr: str, start: int, end: int, step: int = 60) -> set[int]:
    """The instants at which a rule says that a window is on; the clock stands in for the series that records it."""

    def clock(found: re.Match[str]) -> str:
        # Only the changes of that span: all fifty of them, in each place, take seconds.
        (_, _, first), *later = [span for span in zones.spans(found[1], end + 1) if span[1] > start]
        terms = [f"{offset - first} * (time() >= bool {at}) * (time() < bool {until})" for at, until, offset in later]
        return f"vector({' + '.join([f'time() + {first}', *terms])})"

    query = re.sub(r'sum\(maintenance:local_time:seconds\{zone="([^"]+)"\}\)', clock, expr)
    values = server.over(query, start, end, step)
    assert set(values.values()) <= {1}
    return set(values)


# -- instants


@given(when=recurrings(), day=st.integers(0, 366 * 3))
@settings(max_examples=150, deadline=None)
def test_occurrences_are_what_the_clock_on_the_wall_says(when: Recurring, day: int) -> None:
    """Every instant at the edge of an occurrence, and instants all over two weeks."""
    start = utc("2026-01-01 00:00") + day * DAY
    end = start + 14 * DAY
    found = list(occurrences(Maintenance("m", when, (), (), True), start, end))
    edges = [at for each in found for at in (each.start_seconds, each.end_seconds)]
    instants = {*range(start, end, 1709), *(at + off for at in edges for off in (-60, -1, 0, 1, 60))}
    for at in instants:
        if start <= at < end:
            assert any(each.start_seconds <= at < each.end_seconds for each in found) == is_on(when, at), at


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("change", [0, 1])
@pytest.mark.parametrize(
    ("every", "lasts"),
    [
        ("Sun 02:00", 1800),
        ("Sun 01:30", 3600),
        ("Sat Sun 23:30", 5 * 3600),
        ("daily 00:00", DAY),
        ("daily 02:30", 600),
        ("Sun 03:00", 3600),
        ("day 29 02:15", 3600),
        ("day 1 00:00", 3600),
    ],
)
def test_every_minute_around_a_change_of_the_clocks(name: str, change: int, every: str, lasts: int) -> None:
    when, around = recurring(every, lasts, name), utc(CHANGES[name][change])
    found = list(occurrences(Maintenance("m", when, (), (), True), around - 2 * DAY, around + 2 * DAY))
    for at in range(around - 2 * DAY, around + 2 * DAY, 60):
        assert any(each.start_seconds <= at < each.end_seconds for each in found) == is_on(when, at), at


def test_the_skipped_hour_has_no_window_and_the_repeated_one_has_two() -> None:
    window = Maintenance("m", recurring("Sun 02:00", 1800), (), (), True)
    spring, autumn = utc("2026-03-29 00:00"), utc("2026-10-25 00:00")
    assert list(occurrences(window, spring, spring + DAY)) == []
    assert list(occurrences(window, autumn, autumn + DAY)) == [
        Occurrence(autumn, autumn + 1800),
        Occurrence(autumn + 3600, autumn + 5400),
    ]


def test_a_window_that_happens_once_touches_a_span_or_does_not() -> None:
    window = Maintenance("m", Once(1000, 2000), (), (), True)
    assert list(occurrences(window, 1999, 5000)) == [Occurrence(1000, 2000)]
    assert list(occurrences(window, 2000, 5000)) == []
    assert list(occurrences(window, 0, 1000)) == []


def test_windows_that_touch_are_one() -> None:
    """Every day for a whole day is always."""
    (always,) = occurrences(
        Maintenance("m", recurring("daily 00:00", DAY), (), (), True), utc("2027-01-01 00:00"), utc("2027-01-02 00:00")
    )
    assert always.start_seconds < utc("2020-01-02 00:00")


# -- rules


@given(when=recurrings(), day=st.integers(0, 366 * 15))
@settings(max_examples=60, deadline=None)
def test_rules_see_a_window_when_it_is_on(when: Recurring, day: int, server: Prometheus) -> None:
    start = utc("2026-01-01 00:00") + day * DAY
    instants = range(start, start + 2 * DAY + 1, 600)
    on = seen(server, active(when, 0, 0), start, start + 2 * DAY, 600)
    assert on == {at for at in instants if is_on(when, at)}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("change", [0, 1])
@pytest.mark.parametrize(("every", "lasts"), [("Sun 02:00", 1800), ("Sat Sun 23:30", 5 * 3600), ("day 1 00:00", 3600)])
def test_rules_see_a_window_around_a_change_of_the_clocks(
    name: str, change: int, every: str, lasts: int, server: Prometheus
) -> None:
    when, around = recurring(every, lasts, name), utc(CHANGES[name][change])
    on = seen(server, active(when, 0, 0), around - DAY, around + DAY)
    assert on == {at for at in range(around - DAY, around + DAY + 1, 60) if is_on(when, at)}


@pytest.mark.parametrize(
    ("every", "lasts"),
    [
        ("Sun 02:00", 1800),
        ("Sat 23:58", 120),
        ("Sun 00:00", 60),
        ("Sun 00:00", DAY),
        ("Sun Mon 12:00", DAY),
        ("Sun 12:00", DAY - 60),
        ("day 31 00:00", DAY),
        ("daily 00:00", 600),
    ],
)
def test_rules_see_it_from_a_little_before_to_five_minutes_after(every: str, lasts: int, server: Prometheus) -> None:
    """A rate looks back: the five minutes after a window still hold events of it. Also when it lasts a whole day."""
    when, start = recurring(every, lasts, "Europe/Berlin"), utc("2026-05-29 00:00")
    on = seen(server, active(when, early_seconds=60), start, start + 5 * DAY)
    expected = {
        at
        for at in range(start, start + 5 * DAY + 1, 60)
        if any(is_on(when, at + off) for off in (60, 0, -60, -120, -180, -240))
    } | {at for at in range(start, start + 5 * DAY + 1, 60) if is_on(when, at - 299)}
    assert on == expected


@pytest.mark.xfail(
    reason="the five minutes after a window are by the new clock where the clocks change in them", strict=True
)
def test_rules_see_the_five_minutes_after_a_window_that_ends_as_the_clocks_change(server: Prometheus) -> None:
    """Sundays from one to two, in the night in which two o'clock is three."""
    when, end = recurring("Sun 01:00", 3600), utc("2026-03-29 01:00")
    assert end + 120 in seen(server, active(when), end - 600, end + 600)


def test_rules_see_a_window_that_happens_once(server: Prometheus) -> None:
    start = utc("2026-12-01 21:00")
    on = seen(server, active(Once(start, start + 7200), early_seconds=30), start - DAY, start + DAY, 30)
    assert (min(on), max(on)) == (start - 30, start + 7200 + 300 - 30)


def test_flags_are_for_excluded_windows_alone_and_name_their_tenants(tmp_path: Path) -> None:
    tenants = "tiers: {pro: {}}\ntenants:\n  - {id: acme, tier: pro}\n  - {id: globex, tier: pro}\n"
    windows = """
maintenance:
  all:     {every: Sun 02:00, lasts: 30m}
  some:    {every: Mon 02:00, lasts: 30m, tenants: [globex, acme]}
  counted: {every: Tue 02:00, lasts: 30m, counts_against_sla: true}
"""
    stack = stack_from(tmp_path, tenants=tenants, maintenance=windows)
    assert [rule.labels for rule in maintenance.flags(stack)] == [
        (("window", "all"),),
        (("tenant_id", "globex"), ("window", "some")),
        (("tenant_id", "acme"), ("window", "some")),
    ]


# -- overlaps


def once(start: int, minutes: int) -> Once:
    return Once(60 * start, 60 * (start + minutes))


@given(
    one=st.one_of(recurrings(), st.builds(once, st.integers(29_800_000, 29_830_000), st.integers(1, 600))),
    other=st.one_of(recurrings(), st.builds(once, st.integers(29_800_000, 29_830_000), st.integers(1, 600))),
)
@settings(max_examples=150, deadline=None)
def test_an_overlap_is_the_same_from_both_sides_and_is_one(one: Once | Recurring, other: Once | Recurring) -> None:
    a, b = Maintenance("a", one, (), (), True), Maintenance("b", other, (), (), True)
    both = overlap(a, b)
    assert both == overlap(b, a)
    if both is not None:
        assert both.start_seconds < both.end_seconds
        for at in (both.start_seconds, both.end_seconds - 1):
            assert is_on(one, at)
            assert is_on(other, at)


@given(one=recurrings(), other=recurrings())
@settings(max_examples=60, deadline=None)
def test_no_overlap_is_overlooked_in_half_a_year(one: Recurring, other: Recurring) -> None:
    if overlap(Maintenance("a", one, (), (), True), Maintenance("b", other, (), (), True)) is None:
        start = utc("2026-01-02 00:00")
        ours = list(occurrences(Maintenance("a", one, (), (), True), start, start + 180 * DAY))
        for each in ours:
            assert not is_on(other, each.start_seconds)
            assert not is_on(other, each.end_seconds - 1)


@pytest.mark.parametrize(
    ("tenants", "slos", "overlaps"),
    [
        (((), ()), ((), ()), True),
        ((("acme",), ()), ((), ("a",)), True),
        ((("acme",), ("globex",)), ((), ()), False),
        ((("acme", "globex"), ("globex",)), ((), ()), True),
        (((), ()), (("a",), ("b",)), False),
    ],
)
def test_windows_overlap_where_they_share_a_tenant_and_an_slo(
    tenants: tuple[tuple[str, ...], tuple[str, ...]], slos: tuple[tuple[str, ...], tuple[str, ...]], overlaps: bool
) -> None:
    one, other = (
        Maintenance("m", recurring("Sun 02:00", 1800), who, which, True)
        for who, which in zip(tenants, slos, strict=True)
    )
    assert (overlap(one, other) is not None) == overlaps


def test_a_hundred_windows_are_compared_in_no_time(tmp_path: Path) -> None:
    """Every window with every other one: 4,950 pairs of windows that come each day."""
    tenants = "".join(f"  - {{id: t{number}, tier: pro}}\n" for number in range(2))
    rows = "".join(f"  w{each}: {{every: daily {each // 6:02}:{each % 6}0, lasts: 9m}}\n" for each in range(100))
    folder = define(tmp_path, tenants=f"tiers: {{pro: {{}}}}\ntenants:\n{tenants}", maintenance=f"maintenance:\n{rows}")
    before = datetime.now(UTC)
    assert read_definitions(folder).stack is not None
    assert (datetime.now(UTC) - before).total_seconds() < 30
