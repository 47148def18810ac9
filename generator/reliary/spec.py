"""Definitions -> `Stack`: what the shapes cannot see is checked here, and everything is resolved to typed values.

Reading never stops at the first fault. A record that its shape refused is left out, but its name still counts as
defined, so that one mistake gives one problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, cast

from reliary import promql, windows
from reliary.folder import read_folder
from reliary.model import (
    Board,
    Budget,
    Channel,
    Component,
    Costs,
    Demo,
    Email,
    Events,
    HealthScore,
    Indicator,
    Kind,
    Latency,
    PagerDuty,
    Panel,
    Price,
    Query,
    Ratio,
    Receiver,
    Route,
    Scope,
    Selector,
    Service,
    Severity,
    Slack,
    Slo,
    Smtp,
    Source,
    Stack,
    Tenant,
    Threshold,
    Tier,
    Webhook,
)
from reliary.names import RESERVED_ALERTS, RESERVED_LABELS, duration
from reliary.problems import Place, Problem, ordered
from reliary.problems import Severity as Weight
from reliary.shapes import Entry, Faults, Fields, Located

HEALTH = "health_score"
COST = "cost"
DAY = 86400


@dataclass(frozen=True, slots=True)
class Reading:
    """The outcome: a stack if there is no error, every problem in order, and the definitions' sha256."""

    stack: Stack | None
    problems: tuple[Problem, ...]
    digest: str


def read_definitions(folder: Path) -> Reading:
    """The stack that a folder of definitions describes, with all problems found in it."""
    read = read_folder(folder)
    spec = _Spec(read.fields, Faults())
    stack = spec.stack() if read.fields.values else None
    problems = ordered((*read.problems, *spec.faults.problems))
    faulty = any(problem.severity is Weight.ERROR for problem in problems)
    return Reading(None if faulty else stack, problems, read.digest)


class _Spec:
    """One pass over the merged fields. Methods are named after what they build."""

    def __init__(self, root: Fields, faults: Faults) -> None:
        self.root = root
        self.faults = faults
        self.tenant_label = root.maybe("tenant_label", str) or "tenant_id"
        self.scrape_seconds = root.maybe("scrape_interval", int) or 15
        self.retention_seconds = root.maybe("retention", int) or 35 * DAY
        self.tier_names = self._names("tiers")
        self.indicator_names = self._names("indicators")
        self.slo_names = self._names("slos")
        self.receiver_names = self._names("receivers")
        self.service_names = self._names("services")

    def stack(self) -> Stack:
        self._top()
        name = self.root.maybe("stack", str) or "unnamed"
        return Stack(
            name=name,
            namespace=self.root.maybe("namespace", str) or name.replace("-", "_"),
            tenant_label=self.tenant_label,
            scrape_interval_seconds=self.scrape_seconds,
            evaluation_interval_seconds=self.root.maybe("evaluation_interval", int) or 30,
            retention_seconds=self.retention_seconds,
            pins=self.root.maybe("pins", str) or "seed",
            runbook_base_url=self.root.maybe("runbook_base_url", str),
            services=tuple(self._service(*row) for row in self._records("services")),
            tiers=tuple(self._tier(*row) for row in self._records("tiers")),
            tenants=tuple(self._tenants()),
            indicators=tuple(filter(None, (self._indicator(*row) for row in self._records("indicators")))),
            slos=tuple(filter(None, (self._slo(*row) for row in self._records("slos")))),
            thresholds=tuple(filter(None, (self._threshold(*row) for row in self._records("thresholds")))),
            health=self._health(),
            costs=self._costs(),
            receivers=tuple(self._receiver(*row) for row in self._records("receivers")),
            routes=tuple(self._routes()),
            smtp=self._smtp(),
            boards=tuple(self._board(*row) for row in self._records("boards")),
            demo=self._demo(),
        )

    # -- what every builder needs

    def _names(self, key: str) -> frozenset[str]:
        return frozenset(entry.key for entry in self.root.entries(key, Fields))

    def _records(self, key: str, within: Fields | None = None) -> Iterator[tuple[str, Place, Fields]]:
        entry: Entry[Located[Fields] | None]
        for entry in (within or self.root).entries(key, Fields):
            if entry.value is not None and entry.value.value.whole:
                yield entry.key, entry.key_place, entry.value.value

    def _known(self, name: str, known: frozenset[str], what: str, place: Place) -> bool:
        if name in known:
            return True
        nearest = get_close_matches(name, known, n=1)
        advice = f"Did you mean `{nearest[0]}`?" if nearest else f"Defined are: {', '.join(sorted(known)) or 'none'}."
        self.faults.add("B116", place, f"there is no {what} `{name}`.", advice)
        return False

    def _warn(self, code: str, place: Place, message: str, advice: str) -> None:
        self.faults.problems.append(Problem(code, message, advice, place, Weight.WARNING))

    def _top(self) -> None:
        for key in ("stack", "services", "tenants", "receivers", "routes"):
            if not self.root.has(key):
                self.faults.add("B112", self.root.place, f"`{key}` is missing.", f"Write `{key}:` in one of the files.")
        if not self.root.has("indicators") and not self.root.has("slos"):
            self.faults.add(
                "B129",
                self.root.place,
                "there is nothing to watch: no indicators and no slos.",
                "Define an indicator or an SLO; examples/aether/slos.yml shows both.",
            )
        if self.tenant_label in RESERVED_LABELS:
            self.faults.add(
                "B117",
                self.root.at("tenant_label"),
                f"the label `{self.tenant_label}` is used by the stack.",
                "Use a label of its own for tenants, such as tenant_id.",
            )

    # -- tenants

    def _service(self, name: str, _: Place, row: Fields) -> Service:
        return Service(
            name,
            tuple(item.value for item in row.items("scrape", str)),
            row.maybe("metrics_path", str) or "/metrics",
            tuple(item.value for item in row.items("probe", str)),
        )

    def _budget(self, row: Fields, key: str = "budget") -> Budget | None:
        fields = row.maybe(key, Fields)
        if fields is None or not fields.whole:
            return None
        warn, critical = fields.get("warn", Decimal), fields.get("critical", Decimal)
        if warn >= critical:
            self.faults.add(
                "B113",
                fields.at("warn"),
                f"the warning at {warn} USD comes no earlier than the limit at {critical}.",
                "Set `warn` below `critical`.",
            )
        return Budget(warn, critical)

    def _tier(self, name: str, _: Place, row: Fields) -> Tier:
        return Tier(name, row.maybe("description", str) or name, self._budget(row))

    def _tenants(self) -> Iterator[Tenant]:
        first: dict[str, Place] = {}
        for item in self.root.items("tenants", Fields):
            row = item.value
            if not row.whole:
                continue
            id_, tier = row.get("id", str), row.get("tier", str)
            if id_ in first:
                self.faults.add(
                    "B115",
                    row.at("id"),
                    f"the tenant `{id_}` is defined twice; the first is at {first[id_]}.",
                    "Keep one of the two.",
                )
            first.setdefault(id_, row.at("id"))
            self._known(tier, self.tier_names, "tier", row.at("tier"))
            yield Tenant(
                id_,
                row.maybe("name", str) or id_,
                tier,
                row.maybe("vip", bool) or False,
                tuple(self._objectives(row, "objectives", self.slo_names, "SLO")),
                self._budget(row),
            )

    def _objectives(self, row: Fields, key: str, known: frozenset[str], what: str) -> Iterator[tuple[str, Decimal]]:
        for entry in row.entries(key, Decimal):
            if entry.value is not None and self._known(entry.key, known, what, entry.key_place):
                yield entry.key, entry.value.value

    def _any_vip(self) -> bool:
        return any(item.value.maybe("vip", bool) for item in self.root.items("tenants", Fields))

    def _scope(self, row: Fields) -> Scope:
        scope = row.maybe("tenants", str) or "all"
        if scope == "vip" and not self._any_vip():
            self.faults.add(
                "B116",
                row.at("tenants"),
                "no tenant is a VIP, so this can never apply.",
                "Set `vip: true` on a tenant, or remove `tenants: vip`.",
            )
        return cast(Scope, scope)

    # -- indicators and SLOs

    def _events(self, row: Fields, key: str) -> Events | None:
        text, place = row.get(key, str), row.at(key)
        if promql.WINDOW in text:
            return self._query(text, place)
        fault = promql.syntax_problem(text)
        if fault is not None:
            self.faults.add("B122", place, f"not valid PromQL: {fault}.", "Try the expression in Prometheus first.")
        elif not promql.is_selector(text):
            self.faults.add(
                "B122",
                place,
                "this is neither a plain counter nor a query over `{window}`.",
                "Write the counter alone, or events per tenant: sum by (tenant_id) (increase(x_total[{window}])).",
            )
        else:
            return Selector(text)
        return None

    def _query(self, text: str, place: Place) -> Query | None:
        tried = text.replace(promql.WINDOW, "5m")
        fault = promql.syntax_problem(tried)
        if fault is not None:
            self.faults.add("B122", place, f"not valid PromQL: {fault}.", "Try the expression in Prometheus first.")
        elif not promql.keeps_label(tried, self.tenant_label):
            self.faults.add(
                "B123",
                place,
                f"the query loses the label `{self.tenant_label}`, so it cannot tell tenants apart.",
                f"Aggregate `by ({self.tenant_label})`, and match `on ({self.tenant_label})`.",
            )
        else:
            return Query(text)
        return None

    def _ratio(self, place: Place, row: Fields) -> Ratio | None:
        parts: list[Literal["good", "bad"]] = [part for part in ("good", "bad") if row.has(part)]
        if len(parts) != 1 or not row.has("total"):
            self.faults.add(
                "B112", place, "a ratio needs `total` and one of `good` and `bad`.", "Give exactly these two."
            )
            return None
        counted, total = self._events(row, parts[0]), self._events(row, "total")
        return Ratio(counted, parts[0], total) if counted and total else None

    def _indicator(self, name: str, place: Place, row: Fields) -> Indicator | None:
        over = row.get("over", int)
        self._long_enough(over, row.at("over"))
        self._retained(over, row.at("over"))
        if name in (HEALTH, COST):
            self.faults.add("B117", place, f"`{name}` already names something else.", "Choose another name.")
        source = self._ratio(place, row)
        if source is None:
            return None
        return Indicator(name, row.maybe("description", str) or name, source, over, row.maybe("as", str) == "percent")

    def _long_enough(self, seconds: int, place: Place) -> None:
        if seconds < 4 * self.scrape_seconds:
            self.faults.add(
                "B121",
                place,
                f"a window of {duration(seconds)} holds fewer than four scrapes.",
                f"Use at least {4 * self.scrape_seconds}s, or scrape more often.",
            )

    def _retained(self, seconds: int, place: Place) -> None:
        if seconds > self.retention_seconds:
            self.faults.add(
                "B119",
                place,
                f"the window of {duration(seconds)} reaches past the retention of "
                f"{duration(self.retention_seconds)}, so it would be computed from less data than it says.",
                f"Set `retention` to more than {duration(seconds)}, or shorten the window.",
            )

    def _slo(self, name: str, place: Place, row: Fields) -> Slo | None:
        table = row.maybe("alerts", str) or "google"
        known = self._known(table, frozenset(windows.burn_tables()), "burn-rate table", row.at("alerts"))
        default, by_tier = self._class_objective(row)
        source = self._slo_source(place, row)
        if source is None or default is None or not known:
            return None
        slo = Slo(
            name,
            row.maybe("description", str) or name,
            source,
            default,
            by_tier,
            row.get("window", int),
            windows.burn_tables()[table],
            row.maybe("owner", str) or "unowned",
        )
        self._retained(slo.window_seconds, row.at("window"))
        self._reachable(slo, row)
        return slo

    def _class_objective(self, row: Fields) -> tuple[Decimal | None, tuple[tuple[str, Decimal], ...]]:
        value = row.values["objective"].value
        if isinstance(value, Decimal):
            return value, ()
        known = self.tier_names | {"default"}
        objectives = dict(self._objectives(row, "objective", known, "tier"))
        default = objectives.pop("default", None)
        if default is None:
            self.faults.add(
                "B112",
                row.at("objective"),
                "`default` is missing.",
                "Add `default`: it holds for tenants that are in no list.",
            )
        return default, tuple(objectives.items())

    def _slo_source(self, place: Place, row: Fields) -> Source | None:
        if not row.has("histogram"):
            return self._ratio(place, row)
        histogram = self._events(row, "histogram")
        if not row.has("within") or any(row.has(key) for key in ("good", "bad", "total")):
            self.faults.add(
                "B112",
                place,
                "a latency SLO needs `histogram` and `within`, and nothing else that counts.",
                "Give exactly these two.",
            )
            return None
        if not isinstance(histogram, Selector):
            return None
        return Latency(histogram, Decimal(row.get("within", int)))

    def _reachable(self, slo: Slo, row: Fields) -> None:
        lowest = min([slo.default, *(value for _, value in slo.by_tier)])
        for tier in slo.burn:
            self._long_enough(tier.short_seconds, row.at("window"))
            threshold = windows.factor(tier, slo.window_seconds) * windows.budget(lowest)
            if threshold >= 1:
                self.faults.add(
                    "B120",
                    row.at("objective"),
                    f"at an objective of {lowest} % the alert over {duration(tier.long_seconds)} would need "
                    f"{threshold * 100:.0f} % errors: it can never fire.",
                    "Raise the objective, shorten `window`, or use a table without this row.",
                )

    # -- alerts on limits, health, cost

    def _threshold(self, name: str, place: Place, row: Fields) -> Threshold | None:
        text, at = row.get("when", str), row.at("when")
        match = re.fullmatch(r"(\w+) *([<>]) *([0-9.]+)", text)
        assert match is not None
        subject, direction, limit = match.group(1), match.group(2), Decimal(match.group(3))
        if name in RESERVED_ALERTS:
            self.faults.add(
                "B117", place, f"the stack has an alert of its own that is called {name}.", "Choose another name."
            )
        known = self.indicator_names | ({HEALTH} if self.root.has("health_score") else frozenset())
        if not self._known(subject, known, "indicator", at):
            return None
        self._limit(subject, limit, at)
        return Threshold(
            name,
            subject,
            cast(Literal["<", ">"], direction),
            limit,
            row.get("for", int),
            cast(Severity, row.get("severity", str)),
            self._scope(row),
            row.get("summary", str),
            tuple(item.value for item in row.items("first_steps", str)),
        )

    def _limit(self, subject: str, limit: Decimal, at: Place) -> None:
        percent = subject == HEALTH or any(
            name == subject and row.maybe("as", str) == "percent" for name, _, row in self._records("indicators")
        )
        top = 100 if percent else 1
        if not 0 < limit < top:
            self.faults.add(
                "B113",
                at,
                f"`{subject}` lies between 0 and {top}, so {limit} is no limit for it.",
                f"Choose a limit between 0 and {top}.",
            )

    def _health(self) -> HealthScore | None:
        row = self.root.maybe(HEALTH, Fields)
        if row is None or not row.whole:
            return None
        components = tuple(self._component(*entry) for entry in self._records("components", row))
        weights = sum(component.weight for component in components)
        if weights != 100:
            self.faults.add("B124", row.at("components"), f"the weights give {weights}, not 100.", "Change a weight.")
        self._long_enough(row.get("over", int), row.at("over"))
        floor = row.maybe("floor", Fields)
        below = floor.get("below", Decimal) if floor else Decimal(20)
        ceiling = floor.get("ceiling", Decimal) if floor else Decimal(59)
        return HealthScore(row.get("profile", str), row.get("over", int), components, below, ceiling)

    def _component(self, name: str, _: Place, row: Fields) -> Component:
        indicator, zero, full = row.get("indicator", str), row.get("zero", Decimal), row.get("full", Decimal)
        self._known(indicator, self.indicator_names, "indicator", row.at("indicator"))
        if zero == full:
            self.faults.add(
                "B113", row.at("full"), "`zero` and `full` are the same value.", "Say which value scores 100."
            )
        weight = row.get("weight", Decimal)
        if weight != int(weight):
            self.faults.add("B111", row.at("weight"), f"{weight} is not a whole number.", "Use whole weights.")
        return Component(name, indicator, int(weight), zero, full)

    def _costs(self) -> Costs | None:
        prices = tuple(filter(None, (self._price(*row) for row in self._records("prices"))))
        budget = self._budget(self.root, "budgets")
        if self.root.has("prices") != self.root.has("budgets"):
            key, other = ("prices", "budgets") if self.root.has("prices") else ("budgets", "prices")
            self.faults.add("B112", self.root.at(key), f"`{key}` without `{other}`.", f"Define `{other}` too.")
        return Costs(prices, budget) if prices and budget else None

    def _price(self, name: str, _: Place, row: Fields) -> Price | None:
        counter = self._events(row, "counter")
        if not isinstance(counter, Selector):
            return None
        return Price(name, counter, row.maybe("per", Decimal) or Decimal(1), row.get("usd", Decimal))

    # -- people

    def _receiver(self, name: str, place: Place, row: Fields) -> Receiver:
        channels = tuple(self._channels(row))
        if not channels:
            self.faults.add(
                "B112", place, f"the receiver `{name}` reaches nobody.", "Give it pagerduty, slack, email or webhook."
            )
        if row.has("email") and not self.root.has("smtp"):
            self.faults.add("B112", row.at("email"), "there is no mail server to send this with.", "Define `smtp`.")
        targets = {item.value.maybe("to", str) for item in self.root.items("routes", Fields)}
        if name not in targets:
            self._warn("B128", place, f"no route leads to the receiver `{name}`.", "Add a route, or remove it.")
        return Receiver(name, channels)

    def _channels(self, row: Fields) -> Iterator[Channel]:
        if pagerduty := row.maybe("pagerduty", Fields):
            yield PagerDuty(pagerduty.get("routing_key_file", str))
        if slack := row.maybe("slack", Fields):
            yield Slack(slack.get("channel", str), slack.get("url_file", str))
        if row.has("email"):
            yield Email(tuple(item.value for item in row.items("email", str)))
        if url := row.maybe("webhook", str):
            yield Webhook(url)

    def _routes(self) -> Iterator[Route]:
        rows = [item.value for item in self.root.items("routes", Fields)]
        for number, row in enumerate(rows, start=1):
            if not row.whole:
                continue
            self._known(row.get("to", str), self.receiver_names, "receiver", row.at("to"))
            route = Route(
                row.get("to", str),
                cast("Severity | None", row.maybe("severity", str)),
                cast("Kind | None", row.maybe("kind", str)),
                self._scope(row),
                row.maybe("within", int),
            )
            if route.catches_all != (number == len(rows)):
                self._catch_all(row, route)
            yield route

    def _catch_all(self, row: Fields, route: Route) -> None:
        if route.catches_all:
            self.faults.add(
                "B126",
                row.place,
                "this route takes every alert, so the routes after it are never reached.",
                "Move it to the end.",
            )
        else:
            self.faults.add(
                "B126",
                row.place,
                "the last route does not take every alert, so some would reach nobody.",
                "End with a route that has only `to`.",
            )

    def _smtp(self) -> Smtp | None:
        row = self.root.maybe("smtp", Fields)
        if row is None or not row.whole:
            return None
        return Smtp(
            row.get("smarthost", str), row.get("from", str), row.maybe("username", str), row.maybe("password_file", str)
        )

    # -- what people look at

    def _board(self, uid: str, _: Place, row: Fields) -> Board:
        panels = (item.value for item in row.items("panels", Fields) if item.value.whole)
        return Board(uid, row.get("title", str), tuple(self._panel(panel) for panel in panels))

    def _panel(self, row: Fields) -> Panel:
        shows = row.get("shows", str)
        known = self.indicator_names | {
            key for key, need in ((HEALTH, HEALTH), (COST, "prices")) if self.root.has(need)
        }
        self._known(shows, known, "indicator", row.at("shows"))
        levels = tuple(item.value for item in row.items("levels", Decimal))
        if len(levels) != 2 or levels[0] >= levels[-1]:
            self.faults.add("B113", row.at("levels"), "levels are two values, the lower one first.", "Write [30, 50].")
        form = cast(Literal["gauge", "stat", "timeseries"], row.maybe("as", str) or "gauge")
        return Panel(row.get("title", str), row.maybe("description", str) or "", shows, form, (levels[0], levels[-1]))

    def _demo(self) -> Demo | None:
        row = self.root.maybe("demo", Fields)
        if row is None or not row.whole:
            return None
        service = row.get("service", str)
        self._known(service, self.service_names, "service", row.at("service"))
        rates = tuple(self._objectives(row, "requests_per_second", self.tier_names, "tier"))
        return Demo(service, int(row.maybe("seed", Decimal) or 1), rates)
