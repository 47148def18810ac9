"""What the rules of SLO classes record, for every kind of class, against numbers worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from slolab import Answer, Lab, lab, labels

TENANTS = """
tiers: {free: {}, pro: {}, enterprise: {}}
tenants:
  - {id: small, tier: free}
  - {id: large, tier: pro}
  - {id: vip,   tier: enterprise}
"""
RATIO = """
slos:
  availability:
    bad: http_requests_total{code=~"5.."}
    total: http_requests_total
    objective: {default: 99, pro: 99.9}
    window: 30d
"""


def requests(code: int, tenant: str) -> str:
    return f'http_requests_total{{tenant_id="{tenant}",code="{code}"}}'


def steady(tenant: str, good: int, bad: int, minutes: int = 90) -> dict[str, str]:
    """So many requests each minute."""
    return {requests(200, tenant): f"0+{good}x{minutes}", requests(500, tenant): f"0+{bad}x{minutes}"}


def by_tenant(answer: Answer) -> dict[str, float]:
    return {dict(which)["tenant_id"]: value for which, value in answer.items()}


def by_slo(answer: Answer, tenant: str) -> dict[str, float]:
    return {dict(which)["slo"]: value for which, value in answer.items() if dict(which).get("tenant_id") == tenant}


def consumed(found: Lab, traffic: dict[str, str], at: str = "80m") -> dict[str, float]:
    return by_tenant(found.observe(traffic, at, "tenant_slo:error_budget_consumed:ratio")[0])


# -- whose objective


def test_tier_own_and_default_objectives(tmp_path: Path) -> None:
    """1 % errors for all: ten times what pro may, as much as others may, twice what was promised to one."""
    tenants = TENANTS.replace("tier: enterprise}", "tier: enterprise, objectives: {availability: 99.5}}")
    found = lab(tmp_path, slos=RATIO, tenants=tenants)
    traffic = steady("small", 990, 10) | steady("large", 990, 10) | steady("vip", 990, 10) | steady("unlisted", 990, 10)
    assert consumed(found, traffic) == {
        "small": pytest.approx(1),
        "large": pytest.approx(10),
        "vip": pytest.approx(2),
        "unlisted": pytest.approx(1),
    }


def test_an_own_objective_that_is_the_default_beats_that_of_the_tier(tmp_path: Path) -> None:
    """A pro customer who was promised no more than everybody: lookup is tenant, tier, default."""
    tenants = TENANTS.replace("tier: pro}", "tier: pro, objectives: {availability: 99}}")
    found = lab(tmp_path, slos=RATIO, tenants=tenants)
    assert consumed(found, steady("large", 990, 10)) == {"large": pytest.approx(1)}


def test_a_stricter_and_a_laxer_own_objective_in_a_tier(tmp_path: Path) -> None:
    tenants = TENANTS.replace(
        "tier: pro}",
        "tier: pro, objectives: {availability: 99.99}}\n  - {id: other, tier: pro, objectives: {availability: 98}}",
    )
    found = lab(tmp_path, slos=RATIO, tenants=tenants)
    traffic = steady("large", 990, 10) | steady("other", 990, 10)
    assert consumed(found, traffic) == {"large": pytest.approx(100), "other": pytest.approx(0.5)}


# -- what is counted


def histogram(tenant: str, **within: int) -> dict[str, str]:
    """Requests each minute by the bucket that they fall into, cumulative; `inf` is all."""
    bounds = {"half": "0.5", "one": "1", "two": "2", "inf": "+Inf"}
    rows = {
        f'request_seconds_bucket{{tenant_id="{tenant}",le="{bounds[name]}"}}': f"0+{count}x90"
        for name, count in within.items()
    }
    return rows | {f'request_seconds_count{{tenant_id="{tenant}"}}': f"0+{within['inf']}x90"}


def test_bounds_by_tier(tmp_path: Path) -> None:
    slos = """
slos:
  latency:
    histogram: request_seconds
    within: {default: 2s, pro: 1s, enterprise: 500ms}
    objective: 90
    window: 30d
    alerts: none
"""
    found = lab(tmp_path, slos=slos, tenants=TENANTS)
    traffic: dict[str, str] = {}
    for tenant in ("small", "large", "vip", "unlisted"):
        traffic |= histogram(tenant, half=50, one=80, two=95, inf=100)
    (success,) = found.observe(traffic, "80m", "tenant_slo:success:ratio")
    assert by_tenant(success) == {
        "small": pytest.approx(0.95),
        "large": pytest.approx(0.8),
        "vip": pytest.approx(0.5),
        "unlisted": pytest.approx(0.95),
    }


def test_a_probe_counts_its_samples(tmp_path: Path) -> None:
    """Down for 9 of 90 minutes."""
    slos = "slos:\n  page: {probe: page_up, objective: 90, window: 30d, alerts: none}\n"
    traffic = {'page_up{tenant_id="small"}': "1+0x40 0+0x8 1+0x60"}
    found = lab(tmp_path, slos=slos, tenants=TENANTS)
    assert found.value(traffic, "89m", "tenant_slo:success:ratio") == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(
    ("key", "query"),
    [("bad_ratio", "avg_over_time(x_ratio[{window}])"), ("good_ratio", "1 - avg_over_time(x_ratio[{window}])")],
)
def test_of_a_share_each_minute_weighs_the_same(key: str, query: str, tmp_path: Path) -> None:
    """All bad for 20 of 100 minutes, whatever traffic there was."""
    slos = f"slos:\n  share: {{{key}: '{query}', objective: 90, window: 30d, alerts: none}}\n"
    traffic = {'x_ratio{tenant_id="small"}': "0+0x49 1+0x19 0+0x60"}
    found = lab(tmp_path, slos=slos, tenants=TENANTS)
    assert found.value(traffic, "100m", "tenant_slo:success:ratio") == pytest.approx(0.8, abs=0.01)


def test_a_share_that_is_no_number_counts_for_nothing(tmp_path: Path) -> None:
    """0/0 in a query of the user's, for an hour: those minutes are left out."""
    query = "avg_over_time(a[{window}]) / avg_over_time(b[{window}])"
    slos = f"slos:\n  share: {{bad_ratio: '{query}', objective: 99, window: 30d}}\n"
    traffic = {'a{tenant_id="small"}': "1+0x30 0+0x60 1+0x30", 'b{tenant_id="small"}': "10+0x30 0+0x60 10+0x30"}
    found = lab(tmp_path, slos=slos, tenants=TENANTS)
    success, broken = found.observe(
        traffic,
        "2h",
        "tenant_slo:success:ratio",
        'count({__name__=~"tenant_slo:.+"}) - count({__name__=~"tenant_slo:.+"} > -Inf)',
    )
    assert by_tenant(success) == {"small": pytest.approx(0.9, abs=0.01)}
    assert set(broken.values()) == {0}


def test_a_share_out_of_bounds_is_cut(tmp_path: Path) -> None:
    slos = "slos:\n  share: {bad_ratio: 'avg_over_time(x[{window}])', objective: 99, window: 30d}\n"
    found = lab(tmp_path, slos=slos, tenants=TENANTS)
    traffic = {'x{tenant_id="small"}': "3+0x90", 'x{tenant_id="large"}': "-3+0x90"}
    (success,) = found.observe(traffic, "80m", "tenant_slo:success:ratio")
    assert by_tenant(success)["small"] == pytest.approx(0)
    assert by_tenant(success).get("large", 1) == pytest.approx(1)


def test_queries_over_a_window(tmp_path: Path) -> None:
    slos = """
slos:
  jobs:
    bad: sum by (tenant_id) (increase(jobs_total{state="failed"}[{window}]))
    total: sum by (tenant_id) (increase(jobs_total[{window}]))
    objective: 90
    window: 30d
    alerts: none
"""
    found = lab(tmp_path, slos=slos, tenants=TENANTS)
    traffic = {
        'jobs_total{tenant_id="small",state="done"}': "0+75x90",
        'jobs_total{tenant_id="small",state="failed"}': "0+25x90",
    }
    assert found.value(traffic, "80m", "tenant_slo:success:ratio") == pytest.approx(0.75)


# -- over all


def test_roll_ups_weigh_tenants_by_their_events_and_objectives(tmp_path: Path) -> None:
    """small: 10 of 100 at 99 %, large: 10 of 9,900 at 99.9 %. Allowed: 1 and 9.9; bad: 20."""
    found = lab(tmp_path, slos=RATIO, tenants=TENANTS)
    traffic = steady("small", 90, 10) | steady("large", 9890, 10)
    over_all, success, tiers = found.observe(
        traffic, "80m", "slo:error_budget_consumed:ratio", "slo:success:ratio", "tier_slo:error_budget_consumed:ratio"
    )
    assert over_all == {labels(slo="availability"): pytest.approx(20 / 10.9)}
    assert success == {labels(slo="availability"): pytest.approx(1 - 20 / 10_000)}
    assert tiers == {
        labels(slo="availability", tier="free"): pytest.approx(10),
        labels(slo="availability", tier="pro"): pytest.approx(10 / 9.9),
    }


def test_a_composite_adds_up_events_and_budgets(tmp_path: Path) -> None:
    """availability: 10 bad of 1,000 at 99 % (10 allowed); jobs: 30 of 100 at 80 % (20 allowed)."""
    slos = (
        RATIO
        + """
  jobs: {bad: 'jobs_total{state="failed"}', total: jobs_total, objective: 80, window: 30d, alerts: none}
composites:
  both: {of: [availability, jobs]}
"""
    )
    found = lab(tmp_path, slos=slos, tenants=TENANTS)
    traffic = steady("small", 990, 10) | {
        'jobs_total{tenant_id="small",state="done"}': "0+70x90",
        'jobs_total{tenant_id="small",state="failed"}': "0+30x90",
    }
    spent, success, minutes = found.observe(
        traffic,
        "80m",
        "tenant_slo:error_budget_consumed:ratio",
        "tenant_slo:success:ratio",
        "tenant_slo:error_budget_remaining:minutes",
    )
    assert by_slo(spent, "small") == {
        "availability": pytest.approx(1),
        "jobs": pytest.approx(1.5),
        "both": pytest.approx(40 / 30),
    }
    assert by_slo(success, "small")["both"] == pytest.approx(1 - 40 / 1100)
    assert by_slo(minutes, "small")["both"] == pytest.approx((1 - 40 / 30) * 30 / 1100 * 30 * 24 * 60)
    assert by_slo(minutes, "small")["jobs"] == pytest.approx(-0.5 * 0.2 * 30 * 24 * 60)


def test_a_composite_of_one_part_that_is_missing_is_that_of_the_other(tmp_path: Path) -> None:
    slos = RATIO + "  jobs: {bad: jobs_failed_total, total: jobs_total, objective: 99, window: 30d}\n"
    slos += "composites: {both: {of: [availability, jobs]}}\n"
    spent = lab(tmp_path, slos=slos, tenants=TENANTS).observe(
        steady("small", 995, 5), "80m", "tenant_slo:error_budget_consumed:ratio"
    )
    assert by_slo(spent[0], "small") == {"availability": pytest.approx(0.5), "both": pytest.approx(0.5)}


# -- states


def test_each_state(tmp_path: Path) -> None:
    """Exhausted beats burning; too few events for a verdict are told from none."""
    slos = RATIO.replace("{default: 99, pro: 99.9}", "99")
    names = ("well", "burning", "exhausted", "few", "silent", "gone", "planned")
    tenants = "tiers: {free: {}}\ntenants:\n" + "".join(f"  - {{id: {name}, tier: free}}\n" for name in names)
    maintenance = "maintenance: {patching: {every: Sun 02:00, lasts: 30m, tenants: [planned]}}\n"
    found = lab(tmp_path, slos=slos, tenants=tenants, maintenance=maintenance)
    flag = 'maintenance:active:info{tenant_id="planned",window="patching"}'
    traffic = (
        steady("well", 1000, 1)
        | {requests(200, "burning"): "0+10000000x20 200000000+700x70", requests(500, "burning"): "0+0x20 0+300x70"}
        | steady("exhausted", 900, 100)
        | {requests(200, "few"): "0+0x60 1+0x30"}
        | {requests(200, "silent"): "7+0x90"}
        | steady("planned", 900, 100)
        | {flag: "_x80 1+0x10"}
    )
    (state,) = found.observe(traffic, "88m", "tenant_slo:state:code")
    assert by_tenant(state) == {"well": 0, "burning": 1, "exhausted": 2, "few": 3, "silent": 3, "gone": 4, "planned": 5}


def test_a_budget_outlives_its_tenant(tmp_path: Path) -> None:
    """Who sends nothing any more has spent what was spent; that there are no data is told by the state."""
    found = lab(tmp_path, slos=RATIO, tenants=TENANTS)
    traffic = {requests(200, "small"): "0+990x40 stale", requests(500, "small"): "0+10x40 stale"}
    spent, state, burn = found.observe(
        traffic, "90m", "tenant_slo:error_budget_consumed:ratio", "tenant_slo:state:code", "tenant_slo:burn_rate:5m"
    )
    assert by_tenant(spent) == {"small": pytest.approx(1)}
    assert by_tenant(state) == {"small": 4, "large": 4, "vip": 4}
    assert burn == {}


# -- planned windows


def test_an_outage_within_a_planned_window_costs_nothing_and_one_beside_it_does(tmp_path: Path) -> None:
    maintenance = "maintenance: {patching: {every: Sun 02:00, lasts: 30m, tenants: [small]}}\n"
    found = lab(tmp_path, slos=RATIO, tenants=TENANTS, maintenance=maintenance)
    outage = "0+1000x40 40000+0x20 40000+1000x60", "0+0x40 0+1000x20 20000+0x60"
    traffic = {
        requests(code, tenant): values
        for tenant in ("small", "large")
        for code, values in zip((200, 500), outage, strict=True)
    }
    # As the rule raises it: a minute early, and until the last rate that looks back into the window.
    traffic['maintenance:active:info{tenant_id="small",window="patching"}'] = "_x39 1+0x27 stale"
    spent, excluded, state = found.observe(
        traffic,
        "110m",
        "tenant_slo:error_budget_consumed:ratio",
        "sum by (tenant_id) (sum_over_time(tenant_slo:excluded:rate5m[2h])) * 60",
        "tenant_slo:state:code",
    )
    assert by_tenant(spent)["small"] == 0
    assert by_tenant(spent)["large"] == pytest.approx(20 / 110 / 0.001, rel=0.1)
    assert by_tenant(excluded) == {"small": pytest.approx(27_000, rel=0.05)}
    assert by_tenant(state)["small"] == 0


# -- exact, sharded


def test_exact_classes_say_the_same_while_nothing_is_missing(tmp_path: Path) -> None:
    exact = RATIO.rstrip() + "\n    exact: true\n"
    traffic = {requests(200, "small"): "0+990x60 59400+950x60", requests(500, "small"): "0+10x60 600+50x60"}
    queries = [f"tenant_slo:burn_rate:{window}" for window in ("5m", "30m", "1h")]
    one = lab(tmp_path / "a", slos=exact, tenants=TENANTS).observe(traffic, "100m", *queries)
    other = lab(tmp_path / "b", slos=RATIO, tenants=TENANTS).observe(traffic, "100m", *queries)
    for a, b in zip(one, other, strict=True):
        assert by_tenant(a) == {"small": pytest.approx(by_tenant(b)["small"], rel=0.1)}


def test_shards_say_what_one_part_says(tmp_path: Path) -> None:
    """Each tenant is in exactly one shard, also one that is not listed and one whose id ends in a sign."""
    stack = "stack: shop\nretention: 100d\nevaluation_interval: 1m\n{}services: {{api: {{scrape: ['a:1']}}}}\n"
    traffic: dict[str, str] = {}
    for number, tenant in enumerate(("small", "large", "vip", "unlisted", "a-", "b.", "Z", "x^", "ü")):
        traffic |= steady(tenant, 990, number)
    queries = ("tenant_slo:error_budget_consumed:ratio", "tenant_slo:burn_rate:6h", "tenant_slo:total:rate5m")
    one = lab(tmp_path / "a", slos=RATIO, tenants=TENANTS, stack=stack.format("")).observe(traffic, "80m", *queries)
    for shards in (2, 4):
        text = stack.format(f"shards: {shards}\n")
        parts = lab(tmp_path / str(shards), slos=RATIO, tenants=TENANTS, stack=text).observe(traffic, "80m", *queries)
        assert parts == one


# -- guards


def simulated(tenant: str, errors: Sequence[int], good: Sequence[int]) -> dict[str, str]:
    """What the rules of a stack that evaluates each minute have recorded, of events per minute of some days.

    promtool evaluates all groups at one interval, which counts tiles too often; so the tiles are its input, once in
    five minutes as in a real server. A rate over five minutes is what happened in these, by the second.
    """
    rows: dict[str, str] = {}
    for part, events in (("errors", errors), ("total", [bad + fine for bad, fine in zip(errors, good, strict=True)])):
        summed, running = [0], 0
        for each in events:
            running += each
            summed.append(running)
        rates = [(summed[at] - summed[max(0, at - 5)]) / 300 for at in range(1, len(summed))]
        tiles = [f"{sum(rates[at - 4 : at + 1]):.9f} _x4" for at in range(4, len(rates), 5)]
        which = f'{{slo="availability",tenant_id="{tenant}"}}'
        rows[f"tenant_slo:{part}:rate5m{which}"] = " ".join(f"{rate:.9f}" for rate in rates)
        rows[f"tenant_slo:{part}:sum5m{which}"] = "_x4 " + " ".join(tiles)
    return rows


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    slos = RATIO.replace("{default: 99, pro: 99.9}", "99.9")
    # With a planned window, so that no window is read from the counters, which are not given.
    maintenance = "maintenance: {patching: {every: Sun 02:00, lasts: 30m}}\n"
    found = lab(tmp_path_factory.mktemp("guarded"), slos=slos, tenants=TENANTS, maintenance=maintenance)
    content = yaml.safe_load((found.build / "rules" / "slo-availability.yml").read_text())
    given = {f"tenant_slo:{part}:{kind}" for part in ("errors", "total") for kind in ("rate5m", "sum5m")}
    for group in content["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule.get("record") not in given]
    content["groups"] = [group for group in content["groups"] if group["rules"]]
    (found.build / "rules" / "simulated.yml").write_text(json.dumps(content))
    return found


def fired(found: Lab, rows: dict[str, str], at: str) -> set[str]:
    ever = 'count_over_time(ALERTS{alertname="SloBudgetBurn",alertstate="firing"}[2d])'
    (answer,) = found.observe(rows, at, ever, rules=["simulated"])
    return {dict(which)["burn"] for which in answer}


def test_the_tiles_count_each_event_once(guarded: Lab) -> None:
    """What the guards of the slow tiers multiply: 60 s times the sum of tiles are events."""
    rows = simulated("small", [0] * 600, [7] * 600)
    counted = 'sum(sum_over_time(tenant_slo:total:sum5m{slo="availability"}[1d])) * 60'
    assert guarded.value(rows, "10h", counted, rules=["simulated"]) == pytest.approx(7 * 600, rel=0.02)


def test_no_tier_calls_for_one_failure_in_ten_requests(guarded: Lab) -> None:
    """One request each hour for ten hours; the last one fails."""
    minutes = [1 if at % 60 == 30 else 0 for at in range(600)]
    bad = [each if at > 560 else 0 for at, each in enumerate(minutes)]
    good = [each - failed for each, failed in zip(minutes, bad, strict=True)]
    rows = simulated("small", bad, good)
    burn = guarded.value(rows, "9h55m", "tenant_slo:burn_rate:1d", rules=["simulated"])
    assert burn == pytest.approx(100, rel=0.02)
    assert fired(guarded, rows, "10h") == set()


def test_every_tier_calls_when_the_same_share_of_many_fails(guarded: Lab) -> None:
    """So the silence above is that of the guard."""
    rows = simulated("small", [100] * 600, [900] * 600)
    assert fired(guarded, rows, "10h") == {"1h", "6h", "1d", "3d"}


@pytest.mark.parametrize(("bad", "good", "calls"), [(4, 400, False), (6, 80, False), (6, 114, True)])
def test_a_guard_of_counts_is_both_counts(bad: int, good: int, calls: bool, tmp_path: Path) -> None:
    """At least 5 bad events among 100 in the long window."""
    rows = "alerts: {rows: [{severity: page, long: 1h, short: 5m, factor: 1}], guard: {bad: 5, total: 100}}"
    slos = RATIO.replace("{default: 99, pro: 99.9}", "99.9").rstrip() + f"\n    {rows}\n"
    found = lab(tmp_path, slos=slos, tenants=TENANTS)
    counters = ((200, good), (500, bad))
    traffic = {
        requests(code, "small"): " ".join(str(min(events, events * at // 40)) for at in range(100))
        for code, events in counters
    }
    ever = 'count_over_time(ALERTS{alertname="SloBudgetBurn",alertstate="firing"}[1h])'
    assert bool(found.observe(traffic, "45m", ever)[0]) == calls
