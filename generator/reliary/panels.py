"""Boards as Grafana 11.2 reads them: grafanalib, with what it gets wrong put right.

Only this module knows grafanalib, and it knows nothing of our model. Importing grafanalib costs 110 ms, so the
functions that need it import it when they are called.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from string import ascii_uppercase
from typing import Any, Literal, TypeAlias, cast

import yaml

from reliary.assets import asset
from reliary.kept import kept

Json: TypeAlias = dict[str, Any]
Form: TypeAlias = Literal["gauge", "stat", "timeseries"]

DATASOURCE_UID = "prometheus"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
TENANT = "$tenant"
SCHEMA_VERSION = 39
COLUMNS = 24

# What grafanalib writes and 11.2 does not know, or reads as something that we do not mean.
_BOARD_JUNK = ("__inputs", "gnetId", "hideControls", "id", "rows", "sharedCrosshair", "style", "version")
_PANEL_JUNK = ("editable", "error", "height", "hideTimeOverride", "minSpan", "span")
_GAUGE_JUNK = ("showThresholdLabels", "showThresholdMarkers")
_FIELD_JUNK = ("calcs", "limit", "noValue", "override", "title", "values")
_VARIABLE_JUNK = ("auto", "auto_count", "auto_min", "tagValuesQuery", "tagsQuery", "useTags")


@cache
def _look_text() -> str:
    return asset("dashboards", "panels.yml").read_text(encoding="utf-8")


@cache
def _look() -> Json:
    """Sizes, colours and options of dashboards/panels.yml."""
    return cast(Json, yaml.safe_load(_look_text()))


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL and the name of what it gives; `judged` says whether the levels of the panel apply to it."""

    expr: str
    legend: str
    judged: bool = True


@dataclass(frozen=True, slots=True)
class Scale:
    """From 0 to `maximum`, or with no end; `unit` is Grafana's name of it, `word` the one that people read."""

    unit: str
    word: str
    decimals: int
    maximum: Decimal | None


@dataclass(frozen=True, slots=True)
class View:
    """A panel, ready to be drawn. Levels ascend, in the unit of the scale."""

    title: str
    description: str
    form: Form
    queries: tuple[Query, ...]
    scale: Scale
    levels: tuple[Decimal, ...]
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class Variables:
    """How people choose: the query that lists tenants, and those chosen when the board is opened."""

    tenants_query: str
    chosen: tuple[str, ...]


def board_text(
    uid: str, title: str, description: str, tags: Sequence[str], variables: Variables, views: Sequence[View]
) -> str:
    """The JSON of one board, byte for byte the same for the same arguments; panels are numbered in their order."""
    inputs = (_look_text(), uid, title, description, tuple(tags), variables, tuple(views))
    return kept("board", inputs, lambda: _drawn(uid, title, description, tags, variables, views))


def _drawn(
    uid: str, title: str, description: str, tags: Sequence[str], variables: Variables, views: Sequence[View]
) -> str:
    from grafanalib.core import GRAPH_TOOLTIP_MODE_SHARED_CROSSHAIR, Dashboard, Templating, Time, TimePicker

    board = Dashboard(
        uid=uid,
        title=title,
        description=description,
        tags=list(tags),
        editable=False,
        graphTooltip=GRAPH_TOOLTIP_MODE_SHARED_CROSSHAIR,
        panels=[
            _panel(number, view, place) for number, (view, place) in enumerate(zip(views, _grid(views), strict=True), 1)
        ],
        refresh="1m",
        schemaVersion=SCHEMA_VERSION,
        templating=Templating(_templates(variables)),
        time=Time("now-6h", "now"),
        # Rules are evaluated every half minute or so: asking more often only costs.
        timePicker=TimePicker(refreshIntervals=["30s", "1m", "5m", "15m", "1h"], timeOptions=None),
        timezone="browser",
    )
    plain = json.loads(json.dumps(board, default=lambda part: part.to_json_data()))
    # ASCII escapes: whatever a title contains, the file can be written, and looks the same everywhere.
    return json.dumps(_clean(plain), indent=2, sort_keys=True) + "\n"


def _panel(number: int, view: View, place: tuple[int, int, int]) -> Any:
    from grafanalib.core import GaugePanel, GridPos, Stat, TimeSeries

    kind = {"gauge": GaugePanel, "stat": Stat, "timeseries": TimeSeries}[view.form]
    x, y, width = place
    return kind(
        id=number,
        title=view.title,
        description=view.description,
        gridPos=GridPos(h=_look()["height"], w=width, x=x, y=y),
        dataSource=DATASOURCE,
        targets=[_target(ref, query, view.form) for ref, query in _lettered(view)],
        thresholds=_steps(view),
        # grafanalib's 100 points would make every curve coarse; without a number Grafana takes one per pixel.
        maxDataPoints=None,
        extraJson={
            "pluginVersion": "11.2.0",
            "fieldConfig": {"defaults": _field(view), "overrides": _overrides(view)},
            "options": _look()["options"][view.form],
        },
    )


def _lettered(view: View) -> Iterator[tuple[str, Query]]:
    return zip(ascii_uppercase, view.queries, strict=False)


def _target(ref: str, query: Query, form: Form) -> Json:
    # One value is asked for at one instant. A range would show what was last seen, hours ago perhaps, as if it held
    # now; of a series that has ended, the panel must say "No data".
    over_time = form == "timeseries"
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "exemplar": False,
        "expr": query.expr,
        "format": "time_series",
        "instant": not over_time,
        "legendFormat": query.legend,
        "range": over_time,
        "refId": ref,
    }


def _field(view: View) -> Json:
    field: Json = {
        "color": {"mode": "thresholds"},
        "decimals": view.scale.decimals,
        "mappings": [],
        "max": None if view.scale.maximum is None else _number(view.scale.maximum),
        "min": 0,
        "unit": view.scale.unit,
    }
    if view.form == "timeseries":
        field["color"] = {"mode": "palette-classic"}
        field["custom"] = {
            "stacking": {"group": "A", "mode": "none"},
            "thresholdsStyle": {"mode": "dashed"},
        }
    return field


def _steps(view: View) -> list[Json]:
    colours = _look()["worst_first"][:: 1 if view.higher_is_better else -1]
    values = [None, *(_number(level) for level in view.levels)]
    return [{"color": colour, "value": value} for colour, value in zip(colours, values, strict=True)]


def _overrides(view: View) -> list[Json]:
    neutral = [{"id": "color", "value": {"fixedColor": "text", "mode": "fixed"}}]
    return [
        {"matcher": {"id": "byFrameRefID", "options": ref}, "properties": neutral}
        for ref, query in _lettered(view)
        if not query.judged
    ]


def _grid(views: Sequence[View]) -> Iterator[tuple[int, int, int]]:
    """Column, row and width of each view, in their order."""
    for number, row in enumerate(_rows(views)):
        width = COLUMNS // _in_a_row(row)
        yield from ((column * width, number * _look()["height"], width) for column in range(len(row)))


def _rows(views: Sequence[View]) -> list[list[View]]:
    rows: list[list[View]] = []
    for view in views:
        if rows and len(rows[-1]) < _in_a_row([*rows[-1], view]):
            rows[-1].append(view)
        else:
            rows.append([view])
    return rows


def _in_a_row(row: Sequence[View]) -> int:
    return 3 if all(view.form == "gauge" for view in row) else 2


def _templates(variables: Variables) -> list[Any]:
    from grafanalib.core import REFRESH_ON_TIME_RANGE_CHANGE, SORT_ALPHA_IGNORE_CASE_ASC, Template

    return [
        Template(name="datasource", label="Data source", type="datasource", query="prometheus", default=DATASOURCE_UID),
        # There is no "All": with 10,000 tenants it would draw 10,000 gauges in each panel. For a selection that is not
        # among the tenants any more Grafana takes the first one.
        Template(
            name=TENANT.removeprefix("$"),
            label="Tenants",
            dataSource=DATASOURCE,
            query=variables.tenants_query,
            default=list(variables.chosen),
            includeAll=False,
            multi=True,
            refresh=REFRESH_ON_TIME_RANGE_CHANGE,
            sort=SORT_ALPHA_IGNORE_CASE_ASC,
        ),
    ]


def _clean(board: Json) -> Json:
    _drop(board, _BOARD_JUNK)
    for panel in board["panels"]:
        _drop(panel, _PANEL_JUNK)
        _drop(panel["fieldConfig"], _GAUGE_JUNK)
        _drop(panel["fieldConfig"]["defaults"], _FIELD_JUNK)
    for variable in board["templating"]["list"]:
        _drop(variable, _VARIABLE_JUNK)
        _drop(variable["current"], ("tags",))
    cleaned: Json = _without_nulls(board)
    return cleaned


def _drop(part: Json, keys: Sequence[str]) -> None:
    for key in keys:
        part.pop(key, None)


def _without_nulls(part: Any) -> Any:
    """The part without its nulls, but for a `value`: the base step of a threshold has to say that it has none."""
    if isinstance(part, list):
        return [_without_nulls(item) for item in part]
    if isinstance(part, dict):
        return {key: _without_nulls(item) for key, item in part.items() if item is not None or key == "value"}
    return part


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
