"""The fast simulation of burn-rate alerts: hand-counted windows, conditions and episodes, the last beside promtool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from harness.burnsim import (
    Flags,
    Recorded,
    Tier,
    Traffic,
    condition,
    episodes,
    first_alert,
    joined_episodes,
    rolling,
    tiers,
)
from harness.requests_model import MODELS, dispersion
from harness.stacks import stack
from reliary_stack.binaries import find_tool

PAGE = Tier("page", long=60, short=5, factor=14.4, wait=0, keep=0)
TICKET = Tier("ticket", long=1440, short=120, factor=3.0, wait=0, keep=30)
BUDGET = 0.001
Z = 1.645


def traffic(total: list[float], bad: list[float]) -> Recorded:
    return Recorded(Traffic(np.array([total], dtype=float), np.array([bad], dtype=float)))


def flags(text: str) -> Flags:
    return np.array([sign == "x" for sign in text])


def test_a_rolling_sum_holds_the_last_values() -> None:
    assert rolling(np.array([1.0, 2, 3, 4, 5]), 3).tolist() == [1, 3, 6, 9, 12]


def test_an_hour_of_one_request_a_minute_is_61_since_a_range_holds_both_its_ends() -> None:
    _, total = traffic([1] * 200, [0] * 200).events(60, 1)
    assert total[0, -1] == pytest.approx(61)


def test_a_day_of_tiles_holds_every_request_once() -> None:
    _, total = traffic([1] * 3000, [0] * 3000).events(1440, 2)
    assert total[0, -1] == pytest.approx(1440)


def test_the_newest_events_reach_a_day_only_with_the_next_tile() -> None:
    total = [0.0] * 3000
    total[2001] = 7
    _, day = traffic(total, [0] * 3000).events(1440, 1)
    assert day[0, 2004] == 0
    assert day[0, 2005] > 0


@pytest.mark.parametrize(("guard", "fires"), [("none", True), ("> 0", True), ("margin", False)])
def test_one_bad_request_in_ten_pages_without_a_margin(guard: str, fires: bool) -> None:
    total, bad = [0.0] * 200, [0.0] * 200
    for minute in range(100, 200, 10):
        total[minute] = 1
    bad[190] = 1
    assert condition(traffic(total, bad), PAGE, BUDGET, guard, Z)[0, 191] == fires  # type: ignore[arg-type]


def test_the_margin_asks_for_three_bad_requests() -> None:
    """b - 1.645 sqrt(b) is 0.15 for three and less than 0 for two; the limit for three requests is 0.04."""
    for number in (2, 3):
        events = [0.0] * 100 + [1.0] * number + [0.0] * 20
        fired = condition(traffic(events, events), PAGE, BUDGET, "margin", Z)
        assert fired.any() == (number == 3)


def test_no_traffic_is_no_alert() -> None:
    assert not condition(traffic([0] * 200, [0] * 200), PAGE, BUDGET, "none", Z).any()


EPISODES = {
    "one that holds": ("..xxx..", 1, 0, 0, [(2, 4)]),
    "two": ("x..x", 1, 0, 0, [(0, 0), (3, 3)]),
    "too short for `for`": ("..xx...", 1, 2, 0, []),
    "long enough for `for`": ("..xxx..", 1, 2, 0, [(4, 4)]),
    "a gap within keep_firing_for": ("x..x", 1, 0, 3, [(0, 3)]),
    "a gap of keep_firing_for and a step less": ("x...x", 1, 0, 3, [(0, 4)]),
    "a gap longer than keep_firing_for": ("x....x", 1, 0, 3, [(0, 0), (5, 5)]),
    "kept firing needs no second `for`": (".xxx.x.", 1, 2, 3, [(3, 5)]),
    "at two-minute steps": ("x.x..x", 2, 0, 2, [(0, 2), (5, 5)]),
}


@pytest.mark.parametrize("case", EPISODES)
def test_episodes_are_counted_by_hand(case: str) -> None:
    text, step, wait, keep, expected = EPISODES[case]
    assert episodes(flags(text), step, wait, keep) == expected


@pytest.mark.parametrize("case", EPISODES)
def test_episodes_are_those_of_prometheus(case: str, tmp_path: Path) -> None:
    """At every minute, the alert fires there exactly when it does here."""
    text, step, wait, keep, expected = EPISODES[case]
    rule = {"alert": "A", "expr": "v == 1", "for": f"{wait}m", "keep_firing_for": f"{keep}m"}
    rules = {"groups": [{"name": "g", "rules": [rule]}]}
    (tmp_path / "rules.yml").write_text(json.dumps(rules))
    values = " ".join("1" if sign == "x" else "0" for sign in text)
    steps = 1 - (-keep // step)  # firing goes on until it has not held for `keep`
    firing = {at for first, last in expected for at in range(first, last + steps)} & set(range(len(text)))
    checks = [
        {"eval_time": f"{at * step}m", "alertname": "A", "exp_alerts": [{"exp_labels": {}}] if at in firing else []}
        for at in range(len(text))
    ]
    test = {"interval": f"{step}m", "input_series": [{"series": "v", "values": values}], "alert_rule_test": checks}
    file = {"rule_files": ["rules.yml"], "evaluation_interval": f"{step}m", "tests": [test]}
    (tmp_path / "test.yml").write_text(json.dumps(file))
    tool = find_tool("promtool").path
    done = subprocess.run(
        [tool, "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_of_one_severity_that_overlap_are_one_episode() -> None:
    short = Tier("page", 60, 5, 14.4, wait=0, keep=0)
    long = Tier("page", 360, 30, 6.0, wait=0, keep=0)
    over = [flags(".xxx....x."), flags("...xxx...")]
    assert joined_episodes(over, [short, long], keep=False) == [(1, 5), (8, 8)]


def test_a_ticket_is_evaluated_every_second_minute() -> None:
    assert (PAGE.step, TICKET.step) == (1, 2)


def test_tiers_are_those_that_are_compiled() -> None:
    found = tiers(stack(["t"], [("availability", "99.9", "30d")]).slos[0])
    assert [(tier.long, tier.short, tier.factor) for tier in found] == [
        (60, 5, 14.4),
        (360, 30, 6.0),
        (1440, 120, 3.0),
        (4320, 360, 1.0),
    ]


def test_a_total_outage_is_seen_in_minutes_where_there_is_traffic() -> None:
    total = np.full((3, 4320 + 60), 100.0)
    bad = np.zeros_like(total)
    bad[:, 4320:] = 100
    over = condition(Recorded(Traffic(total, bad)), PAGE, BUDGET, "margin", Z)
    minutes = first_alert([over], [PAGE], 4320)
    # 14.4 x 0.1 % of an hour is 0.88 minutes of outage, of which a 5m rate shows a fifth in the first.
    assert minutes.tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("model", "of_total", "of_bad"),
    [("poisson", 1, 1), ("batches", 19, 1.2), ("clustered", 1, 9)],
)
def test_bursts_are_as_overdispersed_as_is_said(model: str, of_total: float, of_bad: float) -> None:
    """A batch of geometric size with mean m has 2 m - 1 times the variance: 19 for 10, 9 for 5."""
    made = MODELS[model](np.random.default_rng(1), 1000, np.full((1, 1440 * 100), 0.01))
    assert dispersion(made.total) == pytest.approx(of_total, rel=0.15)
    assert dispersion(made.bad) == pytest.approx(of_bad, rel=0.15)
    assert made.bad.sum() / made.total.sum() == pytest.approx(0.01, rel=0.1)


def test_office_traffic_has_the_same_mean_and_idle_nights() -> None:
    made = MODELS["office"](np.random.default_rng(1), 600, np.full((1, 1440 * 20), 0.01))
    assert made.total.mean() == pytest.approx(10, rel=0.02)
    assert (made.total[0] == 0).mean() == pytest.approx(0.75, abs=0.01)
