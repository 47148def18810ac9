"""Boards: the five panels of the example, what Grafana 11.2 understands of them, and hostile text."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from typing import Any

import promql_parser
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reliary import names
from reliary.artifacts import Site
from reliary.dashboards import BOARDS_DIR, board_problems, dashboards, grafana_provisioning
from reliary.model import (
    Board,
    Budget,
    Component,
    Costs,
    HealthScore,
    Indicator,
    Panel,
    Price,
    Ratio,
    Selector,
    Stack,
    Tenant,
    Tier,
)

CACHE = Panel("Cache Hit Ratio", "Answers from the cache.", "cache_hit_ratio", "gauge", (Decimal(30), Decimal(50)))
RERANK = Panel("Rerank Utilization", "", "rerank_utilization_pct", "gauge", (Decimal(60), Decimal(80)))
LOW_CONFIDENCE = Panel("Low-Confidence Share", "", "lowconfidence_pct", "gauge", (Decimal(30), Decimal(50)))
COST = Panel("30-Day Cost Estimate", "What a month costs.", "cost", "stat", (Decimal(50), Decimal(200)))
HEALTH = Panel("System Health Score", "", "health_score", "stat", (Decimal(60), Decimal(80)))
FIVE = (CACHE, RERANK, LOW_CONFIDENCE, COST, HEALTH)

BETTER_UP = ["red", "yellow", "green"]
BETTER_DOWN = ["green", "yellow", "red"]


def indicator(name: str, part: str, minutes: int, *, percent: bool) -> Indicator:
    ratio = Ratio(Selector(f"{name}_{part}_total"), part, Selector(f"{name}_all_total"))  # type: ignore[arg-type]
    return Indicator(name, f"What {name} says.", ratio, minutes * 60, percent)


def tenant(name: str, *, vip: bool = False) -> Tenant:
    return Tenant(name, name.title(), "pro", vip, (), None)


def stack(*panels: Panel, **changes: Any) -> Stack:
    """The example: three indicators, a health score, prices, and one board of the given panels, or of the five."""
    budget = Budget(Decimal(50), Decimal(200))
    example = Stack(
        name="aether",
        namespace="aether",
        tenant_label="tenant_id",
        scrape_interval_seconds=15,
        evaluation_interval_seconds=30,
        retention_seconds=15 * 86400,
        pins="seed",
        runbook_base_url=None,
        services=(),
        tiers=(Tier("pro", "", None),),
        tenants=(tenant("acme"), tenant("vip-customer-123", vip=True), tenant("zeta", vip=True)),
        indicators=(
            indicator("cache_hit_ratio", "good", 5, percent=False),
            indicator("rerank_utilization_pct", "bad", 15, percent=True),
            indicator("lowconfidence_pct", "bad", 15, percent=True),
        ),
        slos=(),
        thresholds=(),
        health=HealthScore(
            "rag",
            900,
            (Component("cache", "cache_hit_ratio", 100, Decimal(0), Decimal(1)),),
            Decimal(20),
            Decimal(50),
        ),
        costs=Costs((Price("call", Selector("calls_total"), Decimal(1000), Decimal(1)),), budget),
        receivers=(),
        routes=(),
        smtp=None,
        boards=(Board("aether-rag-ops", "Aether RAG operations", panels or FIVE),),
        demo=None,
    )
    return replace(example, **changes)


def text(*panels: Panel, **changes: Any) -> str:
    (file,) = dashboards(stack(*panels, **changes))
    return file.text


def board(*panels: Panel, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(text(*panels, **changes))
    return content


def only_panel(panel: Panel, **changes: Any) -> dict[str, Any]:
    (drawn,) = board(panel, **changes)["panels"]
    assert isinstance(drawn, dict)
    return drawn


def asked(panel: Panel) -> list[tuple[str, str]]:
    return [(target["expr"], target["legendFormat"]) for target in only_panel(panel)["targets"]]


def variable(content: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (entry for entry in content["templating"]["list"] if entry["name"] == name)
    assert isinstance(found, dict)
    return found


# --- the panels


def test_each_board_becomes_one_file_that_is_named_after_its_uid() -> None:
    two = (Board("first", "First", (CACHE,)), Board("second", "Second", (COST,)))
    assert [file.path for file in dashboards(stack(boards=two))] == ["dashboards/first.json", "dashboards/second.json"]
    assert dashboards(stack(boards=())) == ()


def test_the_example_has_the_five_panels_with_their_units_and_thresholds() -> None:
    drawn = [
        (
            panel["id"],
            panel["title"],
            panel["type"],
            panel["fieldConfig"]["defaults"]["unit"],
            panel["fieldConfig"]["defaults"]["min"],
            panel["fieldConfig"]["defaults"].get("max"),
            [(step["color"], step["value"]) for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]],
        )
        for panel in board()["panels"]
    ]
    assert drawn == [
        (1, "Cache Hit Ratio", "gauge", "percent", 0, 100, [("red", None), ("yellow", 30), ("green", 50)]),
        (2, "Rerank Utilization", "gauge", "percent", 0, 100, [("green", None), ("yellow", 60), ("red", 80)]),
        (3, "Low-Confidence Share", "gauge", "percent", 0, 100, [("green", None), ("yellow", 30), ("red", 50)]),
        (4, "30-Day Cost Estimate", "stat", "currencyUSD", 0, None, [("green", None), ("yellow", 50), ("red", 200)]),
        (5, "System Health Score", "stat", "none", 0, 100, [("red", None), ("yellow", 60), ("green", 80)]),
    ]


def test_three_gauges_stand_above_two_numbers() -> None:
    assert [panel["gridPos"] for panel in board()["panels"]] == [
        {"x": 0, "y": 0, "w": 8, "h": 8},
        {"x": 8, "y": 0, "w": 8, "h": 8},
        {"x": 16, "y": 0, "w": 8, "h": 8},
        {"x": 0, "y": 8, "w": 12, "h": 8},
        {"x": 12, "y": 8, "w": 12, "h": 8},
    ]


@pytest.mark.parametrize(
    ("forms", "places"),
    [
        ("ggggg", [(0, 0, 8), (8, 0, 8), (16, 0, 8), (0, 8, 8), (8, 8, 8)]),
        ("gggsg", [(0, 0, 8), (8, 0, 8), (16, 0, 8), (0, 8, 12), (12, 8, 12)]),
        ("ggs", [(0, 0, 8), (8, 0, 8), (0, 8, 12)]),
        ("gts", [(0, 0, 12), (12, 0, 12), (0, 8, 12)]),
    ],
)
def test_a_row_holds_three_gauges_or_two_panels_of_any_form(forms: str, places: list[tuple[int, int, int]]) -> None:
    kinds: dict[str, Any] = {"g": "gauge", "s": "stat", "t": "timeseries"}
    boxes = [panel["gridPos"] for panel in board(*(replace(CACHE, form=kinds[form]) for form in forms))["panels"]]
    assert [(box["x"], box["y"], box["w"]) for box in boxes] == places


@given(st.lists(st.sampled_from(["gauge", "stat", "timeseries"]), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_panels_never_overlap_and_are_as_wide_as_their_neighbours(forms: list[Any]) -> None:
    content = board(*(replace(CACHE, form=form) for form in forms))
    boxes = [panel["gridPos"] for panel in content["panels"]]
    cells = [{(x, box["y"]) for x in range(box["x"], box["x"] + box["w"])} for box in boxes]
    assert all(one.isdisjoint(two) for one, two in combinations(cells, 2))
    assert all(0 <= x < 24 for taken in cells for x, _ in taken)
    assert all(one["w"] == two["w"] for one, two in combinations(boxes, 2) if one["y"] == two["y"])
    assert [panel["type"] for panel in content["panels"]] == forms
    assert board_problems(json.dumps(content)) == ()


def test_a_share_is_asked_for_in_percent_and_a_percentage_as_it_is() -> None:
    assert asked(CACHE) == [
        ("100 * aether:cache_hit_ratio:5m:all", "All tenants"),
        ('100 * aether:cache_hit_ratio:5m{tenant_id=~"$tenant"}', "{{tenant_id}}"),
    ]
    assert asked(RERANK) == [
        ("aether:rerank_utilization_pct:15m:all", "All tenants"),
        ('aether:rerank_utilization_pct:15m{tenant_id=~"$tenant"}', "{{tenant_id}}"),
    ]


def test_health_shows_the_tenant_with_the_lowest_score_and_the_chosen_ones() -> None:
    assert asked(HEALTH) == [
        ("bottomk(1, aether:health_score:15m)", "Lowest: {{tenant_id}}"),
        ('aether:health_score:15m{tenant_id=~"$tenant"}', "{{tenant_id}}"),
    ]


def test_cost_shows_the_sum_then_the_highest_tenant_then_the_chosen_ones() -> None:
    assert asked(COST) == [
        ("sum(aether:estimated_cost_30d_usd)", "All tenants"),
        ("topk(1, aether:estimated_cost_30d_usd)", "Highest: {{tenant_id}}"),
        ('aether:estimated_cost_30d_usd{tenant_id=~"$tenant"}', "{{tenant_id}}"),
    ]


def test_limits_per_tenant_do_not_colour_the_sum_over_all_tenants() -> None:
    (override,) = only_panel(COST)["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": "A"}
    assert override["properties"] == [{"id": "color", "value": {"fixedColor": "text", "mode": "fixed"}}]
    assert only_panel(CACHE)["fieldConfig"]["overrides"] == []


def test_only_a_dial_of_costs_has_an_end_which_is_twice_the_upper_limit() -> None:
    ends = [
        only_panel(replace(COST, form=form))["fieldConfig"]["defaults"].get("max")
        for form in ("gauge", "stat", "timeseries")
    ]
    assert ends == [400, None, None]


@pytest.mark.parametrize(("form", "instant"), [("gauge", True), ("stat", True), ("timeseries", False)])
@pytest.mark.parametrize("panel", FIVE, ids=lambda panel: panel.shows)
def test_a_single_value_is_asked_for_now_and_a_curve_over_time(panel: Panel, form: Any, instant: bool) -> None:
    for target in only_panel(replace(panel, form=form))["targets"]:
        assert (target["instant"], target["range"]) == (instant, not instant)


@pytest.mark.parametrize(
    ("panel", "query"),
    [
        (HEALTH, ("min(aether:health_score:15m)", "Lowest tenant")),
        (COST, ("max(aether:estimated_cost_30d_usd)", "Highest tenant")),
    ],
)
def test_over_time_the_extreme_is_one_curve_and_not_one_per_tenant(panel: Panel, query: tuple[str, str]) -> None:
    assert query in asked(replace(panel, form="timeseries"))


def test_curves_are_as_fine_as_the_screen_and_show_the_levels_as_lines() -> None:
    drawn = only_panel(replace(CACHE, form="timeseries"))
    assert "maxDataPoints" not in drawn
    assert all("intervalFactor" not in target for target in drawn["targets"])
    assert drawn["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"] == {"mode": "dashed"}
    assert drawn["fieldConfig"]["defaults"]["color"] == {"mode": "palette-classic"}


@pytest.mark.parametrize("form", ["gauge", "stat"])
def test_a_single_value_shows_the_last_one_in_the_colour_of_its_level(form: Any) -> None:
    drawn = only_panel(replace(CACHE, form=form))
    assert drawn["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
    assert drawn["fieldConfig"]["defaults"]["color"] == {"mode": "thresholds"}
    assert "noValue" not in drawn["fieldConfig"]["defaults"], "absent is not zero: Grafana says No data itself"


def test_a_number_keeps_the_name_of_its_tenant_beside_it() -> None:
    assert only_panel(HEALTH)["options"]["textMode"] == "value_and_name"


@pytest.mark.parametrize(
    ("panel", "words"),
    [
        (CACHE, "Answers from the cache.\n\nAll tenants together and each chosen tenant, over the last 5m. "
                "Red below 30 %, yellow below 50 %, green from there."),
        (RERANK, "What rerank_utilization_pct says.\n\nAll tenants together and each chosen tenant, over the last 15m. "
                 "Green below 60 %, yellow below 80 %, red from there."),
        (HEALTH, "The tenant with the lowest score and each chosen tenant, over the last 15m. "
                 "Red below 60 points, yellow below 80 points, green from there."),
        (COST, "What a month costs.\n\nEstimated spend in 30 days: all tenants together (no colour, since the limits "
               "are per tenant), the tenant that spends most, and each chosen tenant. "
               "Green below 50 USD, yellow below 200 USD, red from there."),
    ],
    ids=lambda value: value.shows if isinstance(value, Panel) else "",
)  # fmt: skip
def test_the_description_says_what_is_shown_and_what_the_colours_mean(panel: Panel, words: str) -> None:
    assert only_panel(panel)["description"] == words


def test_levels_may_be_fractions() -> None:
    drawn = only_panel(replace(CACHE, levels=(Decimal("99.5"), Decimal("99.95"))))
    steps = drawn["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, 99.5, 99.95]
    assert "Red below 99.5 %, yellow below 99.95 %" in drawn["description"]


# --- the board


def test_a_board_is_not_edited_in_grafana_and_needs_no_migration_there() -> None:
    content = board()
    assert (content["uid"], content["title"]) == ("aether-rag-ops", "Aether RAG operations")
    assert (content["schemaVersion"], content["editable"]) == (39, False)
    assert (content["refresh"], content["timezone"]) == ("1m", "browser")
    assert content["time"] == {"from": "now-6h", "to": "now"}
    assert content["tags"] == ["reliary", "aether"]
    assert "id" not in content
    assert "version" not in content


def test_every_query_goes_to_the_data_source_that_was_chosen_on_the_board() -> None:
    content = board()
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    source = variable(content, "datasource")
    assert (source["type"], source["query"], source["current"]["value"]) == ("datasource", "prometheus", "prometheus")
    assert variable(content, "tenant")["datasource"] == chosen
    for panel in content["panels"]:
        assert [part["datasource"] for part in (panel, *panel["targets"])] == [chosen] * (1 + len(panel["targets"]))


def test_tenants_can_be_chosen_but_never_all_of_them_at_once() -> None:
    tenants = variable(board(), "tenant")
    assert tenants["query"] == "label_values(tenant_info, tenant_id)"
    assert (tenants["multi"], tenants["includeAll"], tenants["refresh"]) == (True, False, 2)
    assert "allValue" not in tenants


@pytest.mark.parametrize(
    ("tenants", "chosen"),
    [
        ((tenant("acme"), tenant("vip-1", vip=True), tenant("vip-2", vip=True)), ["vip-1"]),
        ((tenant("acme"), tenant("beta")), ["acme"]),
        ((), []),
    ],
    ids=["first-vip", "first-tenant", "nobody"],
)
def test_a_board_opens_with_one_tenant_a_vip_if_there_is_one(tenants: Any, chosen: list[str]) -> None:
    current = variable(board(tenants=tenants), "tenant")["current"]
    assert current == {"selected": bool(chosen), "text": chosen, "value": chosen}


def test_the_bytes_are_the_same_for_the_same_definitions() -> None:
    first = text()
    assert first == text()
    assert first == json.dumps(json.loads(first), indent=2, sort_keys=True) + "\n"


def test_grafanalib_is_not_imported_until_a_board_is_asked_for() -> None:
    probe = "import sys, reliary.dashboards; sys.exit('grafanalib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


# --- queries


def selectors(expr: str) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expr.replace("$tenant", "acme")), visit)
    return found


def expressions(content: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in content["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("form", ["gauge", "stat", "timeseries"])
def test_queries_name_only_series_that_our_rules_give_and_only_the_tenant_label(form: Any) -> None:
    example = stack()
    indicators = {names.indicator_series(example, each) for each in example.indicators}
    recorded = {
        *indicators,
        *(names.all_tenants(series) for series in indicators),
        names.health_series(example),
        names.cost_estimate_series(example),
    }
    queries = expressions(board(*(replace(panel, form=form) for panel in FIVE)))
    read = [selector for query in queries for selector in selectors(query)]
    assert {selector.name for selector in read} == recorded
    assert {matcher.name for selector in read for matcher in selector.matchers.matchers} == {"tenant_id"}


def test_the_tenant_label_and_the_namespace_are_those_of_the_stack() -> None:
    content = board(tenant_label="customer", namespace="shop")
    assert all("shop:" in query and "tenant_id" not in query for query in expressions(content))
    legends = {target["legendFormat"] for panel in content["panels"] for target in panel["targets"]}
    assert legends == {"All tenants", "{{customer}}", "Highest: {{customer}}", "Lowest: {{customer}}"}
    assert variable(content, "tenant")["query"] == "label_values(tenant_info, customer)"


# --- hostile text

hostile = st.one_of(
    st.text(min_size=1),
    st.text(alphabet="\"\\{}[]$\n\r\t`'%<>\x00\x7f\u2028 ${tenant}", min_size=1),
    st.sampled_from(['"}],"panels":[', "{{tenant_id}}", "$tenant", "${__all}", "[[datasource]]", "\ud800", "a\nb"]),
)


@given(hostile, hostile, hostile)
@settings(max_examples=150, deadline=None)
def test_titles_and_descriptions_come_back_as_they_were_written(title: str, words: str, of_board: str) -> None:
    panels = tuple(replace(panel, title=title, description=words) for panel in FIVE)
    written = text(boards=(Board("b", of_board, panels),))
    content = json.loads(written)
    assert written.isascii(), "a file that some encoding cannot hold"
    assert content["title"] == of_board
    assert {panel["title"] for panel in content["panels"]} == {title}
    assert all(panel["description"].startswith(f"{words}\n\n") for panel in content["panels"])
    assert expressions(content) == expressions(board()), "text that people read is no part of a query"
    assert board_problems(written) == ()


@given(hostile)
@settings(max_examples=60, deadline=None)
def test_a_tenant_of_any_name_can_be_the_chosen_one(name: str) -> None:
    content = board(tenants=(tenant(name),))
    assert variable(content, "tenant")["current"]["value"] == [name]
    assert expressions(content) == expressions(board())


# --- what Grafana 11.2 understands


def without_nulls(part: Any) -> Any:
    if isinstance(part, list):
        return [without_nulls(item) for item in part]
    if isinstance(part, dict):
        return {key: without_nulls(value) for key, value in part.items() if value is not None}
    return part


def lost(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """The paths that are in ours and not, or not with the same value, in theirs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs[key], f"{path}/{key}") if key in theirs else [f"{path}/{key}"]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(*pair, f"{path}/{index}")
    elif ours != theirs:
        yield f"{path}: {ours!r} became {theirs!r}"


def unknown_to_grafana(written: str) -> list[str]:
    """Round trip through the foundation SDK for Grafana 11.2: what it drops, Grafana has no name for."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    ours = without_nulls(json.loads(written))
    theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(ours)))
    return list(lost(ours, theirs))


@pytest.mark.parametrize("form", ["gauge", "stat", "timeseries"])
def test_grafana_11_2_knows_every_key_that_is_written(form: Any) -> None:
    assert unknown_to_grafana(text(*(replace(panel, form=form) for panel in FIVE))) == []


def test_the_oracle_notices_a_key_that_grafana_does_not_know() -> None:
    content = board()
    content["panels"][0]["fieldConfig"]["defaults"]["calcs"] = ["mean"]
    content["panels"][0]["options"]["thresholdMarker"] = True
    content["sharedCrosshair"] = True
    assert sorted(unknown_to_grafana(json.dumps(content))) == [
        "/panels/0/fieldConfig/defaults/calcs",
        "/panels/0/options/thresholdMarker",
        "/sharedCrosshair",
    ]


# --- the checks


def at(*path: str | int) -> Callable[[dict[str, Any]], Any]:
    def part(content: Any) -> Any:
        for key in path:
            content = content[key]
        return content

    return part


PANEL = at("panels", 0)
FIELD = at("panels", 0, "fieldConfig", "defaults")
TARGET = at("panels", 0, "targets", 0)
STEPS = at("panels", 0, "fieldConfig", "defaults", "thresholds", "steps")

FAULTS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda b: b.update(uid="x" * 41), "B402 uid"),
    (lambda b: b.update(uid="../etc"), "B402 uid"),
    (lambda b: b.update(title=""), "B402 no title"),
    (lambda b: b.update(schemaVersion=12), "B402 schemaVersion"),
    (lambda b: b.pop("editable"), "B402 editable"),
    (lambda b: b.update(panels=[]), "B402 no panels"),
    (lambda b: variable(b, "datasource").update(type="custom"), "B403 no variable for the data source"),
    (lambda b: variable(b, "tenant").update(refresh=1), "B403 variable tenant: keeps old"),
    (lambda b: variable(b, "tenant").update(includeAll=True), "B403 variable tenant: All"),
    (lambda b: PANEL(b).update(id=2), "B404 a panel's id"),
    (lambda b: PANEL(b).pop("id"), "B404 a panel's id"),
    (lambda b: at("panels", 2, "gridPos")(b).update(w=9), "B404 panel 3: outside"),
    (lambda b: PANEL(b)["gridPos"].update(x=-1), "B404 panel 1: outside"),
    (lambda b: PANEL(b)["gridPos"].update(h=0), "B404 panel 1: outside"),
    (lambda b: PANEL(b)["gridPos"].update(w=9), "B404 panels 1 and 2 overlap"),
    (lambda b: PANEL(b)["gridPos"].update(h=9), "B404 panels 1 and 4 overlap"),
    (lambda b: PANEL(b).pop("title"), "B405 panel 1: no title"),
    (lambda b: PANEL(b).update(description=""), "B405 panel 1: no description"),
    (lambda b: FIELD(b).pop("unit"), "B405 panel 1: no unit"),
    (lambda b: PANEL(b).update(targets=[]), "B406 panel 1: no query"),
    (lambda b: TARGET(b).update(refId="B"), "B406 panel 1: a refId"),
    (lambda b: TARGET(b).update(refId=""), "B406 panel 1: a refId"),
    (lambda b: TARGET(b).update(datasource={"uid": "prometheus"}), "B406 panel 1: a data source"),
    (lambda b: PANEL(b).update(datasource={"uid": "prometheus"}), "B406 panel 1: a data source"),
    (lambda b: TARGET(b).update(expr="sum("), "B407 panel 1: query does not parse"),
    (lambda b: TARGET(b).update(expr=""), "B407 panel 1: query does not parse"),
    (lambda b: TARGET(b).update(expr='up{job="$job"}'), "B407 panel 1: no variable $job"),
    (lambda b: TARGET(b).update(expr='up{job="${job:regex}"}'), "B407 panel 1: no variable $job"),
    (lambda b: TARGET(b).update(expr='up{job="[[job]]"}'), "B407 panel 1: no variable $job"),
    (lambda b: STEPS(b)[0].update(value="null"), "B408 panel 1: the first threshold"),
    (lambda b: STEPS(b)[0].pop("value"), "B408 panel 1: the first threshold"),
    (lambda b: STEPS(b)[1].update(value=50), "B408 panel 1: thresholds do not ascend"),
    (lambda b: STEPS(b)[2].update(value=None), "B408 panel 1: thresholds do not ascend"),
    (lambda b: STEPS(b)[2].update(value=101), "B408 panel 1: a threshold outside"),
]


@pytest.mark.parametrize(("breaks", "problem"), FAULTS, ids=[f"{n}-{fault}" for n, (_, fault) in enumerate(FAULTS)])
def test_each_fault_is_found_and_nothing_else(breaks: Callable[[dict[str, Any]], object], problem: str) -> None:
    content = board()
    breaks(content)
    found = board_problems(json.dumps(content))
    assert [line[: len(problem)] for line in found] == [problem]


def test_our_own_boards_have_no_problems() -> None:
    assert board_problems(text()) == ()


def test_neighbours_do_not_overlap_in_whichever_order_they_are_written() -> None:
    content = board()
    content["panels"].reverse()
    assert board_problems(json.dumps(content)) == ()


def test_variables_of_grafana_itself_need_no_declaration() -> None:
    content = board()
    TARGET(content)["expr"] = 'sum(rate(up{job=~"${tenant:regex}",a="[[tenant]]"}[$__rate_interval]))'
    assert board_problems(json.dumps(content)) == ()


@pytest.mark.parametrize("written", ["", "{", "[]", "null"])
def test_what_is_no_board_at_all_is_one_problem(written: str) -> None:
    (problem,) = board_problems(written)
    assert problem.startswith("B401 ")


# --- provisioning


def provisioned(example: Stack, site: Site | None = None) -> dict[str, Any]:
    files = grafana_provisioning(example, site or Site())
    assert all(file.text.startswith("# Generated by reliary") for file in files)
    return {file.path: yaml.safe_load(file.text) for file in files}


def test_grafana_finds_prometheus_and_alertmanager_where_the_site_has_them() -> None:
    site = Site(prometheus="127.0.0.1:19090", alertmanager="127.0.0.1:19093")
    content = provisioned(stack(), site)["grafana/provisioning/datasources/reliary.yml"]
    prometheus, alertmanager = content["datasources"]
    assert content["apiVersion"] == 1
    assert (prometheus["uid"], prometheus["url"]) == ("prometheus", "http://127.0.0.1:19090")
    assert (prometheus["isDefault"], prometheus["editable"]) == (True, False)
    assert prometheus["jsonData"]["timeInterval"] == "15s"
    assert (alertmanager["uid"], alertmanager["url"]) == ("alertmanager", "http://127.0.0.1:19093")
    assert alertmanager["jsonData"]["implementation"] == "prometheus"
    assert "isDefault" not in alertmanager


def test_the_boards_open_on_the_data_source_that_is_provisioned() -> None:
    content = provisioned(stack())["grafana/provisioning/datasources/reliary.yml"]
    assert variable(board(), "datasource")["current"]["value"] == content["datasources"][0]["uid"]


def test_grafana_reads_the_boards_from_files_and_lets_nobody_change_or_lose_them() -> None:
    content = provisioned(stack())["grafana/provisioning/dashboards/reliary.yml"]
    (provider,) = content["providers"]
    assert (provider["type"], provider["folder"]) == ("file", "aether")
    assert provider["options"]["path"] == BOARDS_DIR
    assert (provider["allowUiUpdates"], provider["disableDeletion"]) == (False, True)


def test_without_boards_grafana_is_not_pointed_at_a_folder_that_does_not_exist() -> None:
    assert list(provisioned(stack(boards=()))) == ["grafana/provisioning/datasources/reliary.yml"]


@given(hostile)
@settings(max_examples=80, deadline=None)
def test_the_folder_has_the_name_of_the_stack_whatever_it_is(name: str) -> None:
    content = provisioned(stack(name=name))["grafana/provisioning/dashboards/reliary.yml"]
    folder = content["providers"][0]["folder"]
    assert "$".join(part.replace("$", "<expanded>") for part in folder.split("$$")) == name
