"""What `reliary diff` finds: changes in meaning, all of them, and nothing that is only written otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from reliary.comparing.changes import Change, Word, listing, same_query
from reliary.comparing.meaning import changes
from reliary.comparing.slos import same_source
from reliary.model import (
    BurnGuard,
    Calendar,
    Composite,
    Latency,
    Maintenance,
    Probe,
    Query,
    Ratio,
    RawRatio,
    Receiver,
    Recurring,
    Route,
    Selector,
    Slack,
    Slo,
    Stack,
    Tenant,
)
from reliary_stack.commands.diff import diff
from support import AETHER, ROOT, aether, changed_copy, stack_of

LCOPILOT = ROOT / "examples" / "lcopilot"
STACK = aether()
AVAILABILITY, LATENCY = STACK.slos


def with_slo(slo: Slo, stack: Stack = STACK) -> Stack:
    return replace(stack, slos=tuple(slo if each.name == slo.name else each for each in stack.slos))


def with_tenant(id_: str, stack: Stack = STACK, **new: Any) -> Stack:
    return replace(stack, tenants=tuple(replace(t, **new) if t.id == id_ else t for t in stack.tenants))


def only(old: Stack, new: Stack) -> Change:
    [change] = changes(old, new)
    return change


def told(found: tuple[Change, ...]) -> list[tuple[str, str, str | None, str | None, str]]:
    return [(each.kind, each.what, each.before, each.after, each.severity) for each in found]


# -- what is only written otherwise


def rewritten(folder: Path, target: Path) -> Path:
    """The definitions in one file, without comments, with the keys of all maps in another order."""

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(each) for key, each in reversed(value.items())}
        return [turned(each) for each in value] if isinstance(value, list) else value

    merged: dict[str, Any] = {}
    for path in sorted(folder.glob("*.yml")):
        merged |= yaml.safe_load(path.read_text(encoding="utf-8"))
    target.mkdir()
    (target / "all.yml").write_text(yaml.safe_dump(turned(merged), sort_keys=False), encoding="utf-8")
    return target


class TestText:
    @pytest.mark.parametrize("folder", [AETHER, LCOPILOT])
    def test_order_comments_and_files_mean_nothing(self, folder: Path, tmp_path: Path) -> None:
        assert changes(stack_of(folder), stack_of(rewritten(folder, tmp_path / "all"))) == ()

    @pytest.mark.parametrize(
        ("file", "old", "new"),
        [
            ("slos.yml", "pro: 99.9,", "pro: 99.90,"),
            ("slos.yml", "objective: 99\n", "objective: 99.000\n"),
            ("slos.yml", "within: 1s", "within: 1000ms"),
            ("slos.yml", "window: 30d\n    owner: platform\n  latency", "window: 720h\n    owner: platform\n  latency"),
            ("slos.yml", 'http_requests_total{code=~"5.."}', 'http_requests_total{ code =~ "5..", }'),
            ("slos.yml", "for: 15m", "for: 900s"),
            ("notify.yml", "within: 4h", "within: 240m"),
            ("costs.yml", "per: 1000,    usd: 0.05", "per: 1,    usd: 0.00005"),
            ("stack.yml", "retention: 35d", "retention: 5w"),
            ("slos.yml", "Answers served from the semantic cache", "Answers from the cache"),
            ("slos.yml", "    owner: platform\n  latency", "    owner: platform\n    alerts: google\n  latency"),
        ],
    )
    def test_other_spellings_mean_nothing(self, tmp_path: Path, file: str, old: str, new: str) -> None:
        assert changes(STACK, stack_of(changed_copy(tmp_path, {file: {old: new}}))) == ()

    def test_tenants_in_csv_are_the_same_tenants(self, tmp_path: Path) -> None:
        tenants = [{"id": "a", "tier": "pro"}, {"id": "b", "tier": "free", "vip": True}]
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        for folder in ("one", "two"):
            for path in AETHER.glob("*.yml"):
                if path.name != "tenants.yml":
                    (tmp_path / folder / path.name).write_text(path.read_text())
        tiers = {"tiers": {"free": {}, "pro": {}, "enterprise": {}}}
        (tmp_path / "one" / "tenants.yml").write_text(yaml.safe_dump({**tiers, "tenants": tenants}))
        (tmp_path / "two" / "tiers.yml").write_text(yaml.safe_dump(tiers))
        (tmp_path / "two" / "tenants.csv").write_text("id,tier,vip\nb,free,true\na,pro,false\n")
        assert changes(stack_of(tmp_path / "one"), stack_of(tmp_path / "two")) == ()

    def test_a_route_that_takes_nothing_from_others_may_stand_elsewhere(self) -> None:
        first, second, third, last = STACK.routes
        assert changes(STACK, replace(STACK, routes=(third, second, first, last))) == ()

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ('x{a="1",b="2"}', 'x{b="2", a="1"}', True),
            ("sum by (t) (rate(x[1h]))", "sum by(t)(rate( x[60m] ))", True),
            ("sum by (t) (rate(x[{window}]))", "sum by(t) (rate(x[{window}]))", True),
            ("sum by (t) (rate(x[{window}]))", "sum by(t) (rate(x[5m]))", False),
            ('x{a="1"}', 'x{a="2"}', False),
            ("not promql (", "not promql (", True),
            ("not promql (", "x", False),
        ],
    )
    def test_queries_are_compared_by_what_they_ask(self, one: str, other: str, same: bool) -> None:
        assert same_query(one, other) is same


# -- everything else


PROSE = {
    ("Tier", "description"),
    ("Indicator", "description"),
    ("Slo", "description"),
    ("Composite", "description"),
    ("Threshold", "summary"),
    ("Threshold", "first_steps"),
    ("Panel", "description"),
}
OTHERS = {
    "severity": {
        "critical": "general",
        "general": "warning",
        "warning": "critical",
        "page": "ticket",
        "ticket": "page",
    },
    "direction": {"<": ">", ">": "<"},
    "part": {"good": "bad", "bad": "good"},
    "scope": {"vip": "all", "all": "vip"},
    "form": {"gauge": "stat", "stat": "gauge"},
    "unit": {"month": "quarter", "quarter": "month"},
    "zone": {"Europe/Berlin": "UTC", "UTC": "Europe/Berlin"},
    "tier": {"free": "pro", "pro": "enterprise", "enterprise": "free"},
    "kind": {"cost": "slo", "margin": "none", None: "cost"},
    "to": {"vip-pager": "finance", "ops-channel": "finance", "finance": "vip-pager", "on-call": "platform"},
    "indicator": {"cache_hit_ratio": "lowconfidence_pct", "lowconfidence_pct": "cache_hit_ratio"},
}


def altered(name: str, value: Any) -> Iterator[Any]:
    """Values that a field could have as well."""
    if name in OTHERS and value in OTHERS[name]:
        yield OTHERS[name][value]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | Decimal):
        yield value + 1
    elif isinstance(value, str) and name not in OTHERS:
        yield f"{value}_x"
    elif isinstance(value, tuple) and value:
        yield value[1:]
        if all(isinstance(each, str) for each in value):
            yield (f"{value[0]}_x", *value[1:])
        elif isinstance(value[0], tuple):
            yield ((value[0][0], value[0][1] + 1), *value[1:])


def mutations(node: Any, path: str = "stack") -> Iterator[tuple[str, Any]]:
    """Every way to alter one field of a value, however deep, with where it is."""
    for field in fields(node):
        where, value = f"{path}.{field.name}", getattr(node, field.name)
        if (type(node).__name__, field.name) in PROSE or (field.name == "window_seconds" and node.calendar):
            continue  # the nominal length of a calendar window follows from its unit
        if is_dataclass(value):
            yield from ((at, replace(node, **{field.name: each})) for at, each in mutations(value, where))
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            for position, item in enumerate(value):
                for at, each in mutations(item, f"{where}[{position}]"):
                    yield at, replace(node, **{field.name: (*value[:position], each, *value[position + 1 :])})
            yield f"{where} one less", replace(node, **{field.name: value[1:]})
        else:
            yield from ((where, replace(node, **{field.name: each})) for each in altered(field.name, value))


def mutants(stack: Stack) -> Iterator[tuple[str, Stack]]:
    """Mutations of a stack in which all references still hold. Routes have tests of their own: they take by order."""
    broken = re.compile(r"stack\.(routes|(receivers|tiers|indicators)( one less|\[.\]\.name))")
    for where, mutant in mutations(stack):
        if not broken.match(where) and mutant.slos:
            yield where, mutant


class TestEverything:
    @pytest.mark.parametrize("folder", [AETHER, LCOPILOT])
    def test_every_field_of_the_model_that_is_not_prose_counts(self, folder: Path) -> None:
        stack = stack_of(folder)
        silent = [where for where, mutant in mutants(stack) if not changes(stack, mutant)]
        assert silent == []
        assert sum(1 for _ in mutants(stack)) > 90

    @pytest.mark.parametrize("folder", [AETHER, LCOPILOT])
    def test_nothing_changed_where_nothing_changed(self, folder: Path) -> None:
        assert changes(stack_of(folder), stack_of(folder)) == ()

    def test_the_way_back_is_told_with_the_opposite_word(self) -> None:
        opposite: dict[Word, Word] = {
            "stricter": "looser",
            "louder": "quieter",
            "added": "removed",
            "changed": "changed",
        }
        opposite |= {there: back for back, there in opposite.items()}
        pairs = 0
        for folder in (AETHER, LCOPILOT):
            stack = stack_of(folder)
            for where, mutant in mutants(stack):
                there, back = changes(stack, mutant), changes(mutant, stack)
                words = sorted(opposite[change.severity] for change in there)
                assert words == sorted(change.severity for change in back), where
                pairs += 1
        assert pairs > 200


class TestObjectives:
    def test_a_tier_is_told_once_with_the_number_of_its_tenants(self) -> None:
        by_tier = (("pro", Decimal("99.95")), ("enterprise", Decimal("99.95")))
        change = only(STACK, with_slo(replace(AVAILABILITY, by_tier=by_tier)))
        assert change == Change(
            "objective",
            "availability, tier pro (3 tenants)",
            "99.9 %",
            "99.95 %",
            "stricter",
            "the budget of the last 30d is judged by it at once",
        )

    def test_tenants_with_an_own_objective_are_not_counted_in_their_tier(self) -> None:
        by_tier = (("pro", Decimal("99.9")), ("enterprise", Decimal("99.9")))
        change = only(STACK, with_slo(replace(AVAILABILITY, by_tier=by_tier)))
        assert (change.what, change.severity) == ("availability, tier enterprise (2 tenants)", "looser")

    def test_a_default_reaches_the_tiers_that_have_none_of_their_own(self) -> None:
        found = changes(STACK, with_slo(replace(AVAILABILITY, default=Decimal(99))))
        assert [(each.what, each.after) for each in found] == [
            ("availability, tenants in no list", "99 %"),
            ("availability, tier free (2 tenants)", "99 %"),
        ]

    def test_an_objective_of_its_own_is_told_by_name(self) -> None:
        change = only(STACK, with_tenant("acme", objectives=(("availability", Decimal("99.99")),)))
        assert (change.what, change.before, change.after, change.severity) == (
            "availability, acme, tier pro",
            "99.9 %",
            "99.99 %",
            "stricter",
        )

    def test_an_objective_of_its_own_that_the_tier_has_anyway_is_no_change(self) -> None:
        assert changes(STACK, with_tenant("acme", objectives=(("availability", Decimal("99.90")),))) == ()

    def test_a_move_to_another_tier_shows_what_it_changes(self) -> None:
        found = changes(STACK, with_tenant("acme", tier="free"))
        assert told(found) == [
            ("objective", "availability, acme, moved from pro to free", "99.9 %", "99.5 %", "looser"),
            ("tenant", "acme: tier", "pro", "free", "changed"),
            ("budget", "warn, acme, moved from pro to free", "100 USD", "50 USD", "stricter"),
            ("budget", "critical, acme, moved from pro to free", "300 USD", "200 USD", "stricter"),
        ]

    def test_thousands_of_tenants_are_a_line_each_cause(self) -> None:
        many = tuple(Tenant(f"t{number:04}", "x", "pro", False, (), None) for number in range(2000))
        moved = tuple(replace(each, tier="enterprise") for each in many)
        found = changes(replace(STACK, tenants=many), replace(STACK, tenants=moved))
        assert (
            found[0].what
            == "availability, 2,000 tenants (t0000, t0001, t0002 and 1,997 more), moved from pro to enterprise"
        )
        assert len(found) == 4

    def test_display_names_are_one_line_however_many_changed(self) -> None:
        renamed = replace(STACK, tenants=tuple(replace(each, name="x") for each in STACK.tenants))
        assert only(STACK, renamed).what == "8 tenants (vip-customer-123, vip-customer-456, fabrikam and 5 more): name"
        assert only(STACK, with_tenant("acme", name="Acme Ltd")).before == "Acme Tools"

    def test_bounds_of_latency_are_told_by_tier(self) -> None:
        stack = stack_of(LCOPILOT)
        slo = stack.slos[1]
        assert isinstance(slo.source, Latency)
        source = replace(slo.source, by_tier=(("pro", Decimal(1)), ("enterprise", Decimal("0.25"))))
        change = only(stack, with_slo(replace(slo, source=source), stack))
        assert (change.kind, change.what, change.before, change.after, change.severity) == (
            "latency bound",
            "response_time, tier enterprise (2 tenants)",
            "0.5 s",
            "0.25 s",
            "stricter",
        )
        assert "counted with the old bound" in change.effect


class TestSlos:
    def test_another_source_says_what_becomes_of_the_past(self) -> None:
        source = Ratio(Selector('http_requests_total{code="500"}'), "bad", Selector("http_requests_total"))
        change = only(STACK, with_slo(replace(AVAILABILITY, source=source)))
        assert (change.kind, change.what) == ("source", "availability")
        assert change.effect == "the source changed: the recorded past of 30d was counted differently"

    @pytest.mark.parametrize(
        "source",
        [
            Ratio(Selector('http_requests_total{code=~"5.."}'), "good", Selector("http_requests_total")),
            Ratio(Query("sum by (tenant_id) (increase(x[{window}]))"), "bad", Selector("http_requests_total")),
            Probe(Selector("up")),
            RawRatio(Query("x"), "bad"),
        ],
    )
    def test_sources_of_other_kinds_are_other_sources(self, source: Any) -> None:
        assert only(STACK, with_slo(replace(AVAILABILITY, source=source))).kind == "source"

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            (RawRatio(Query("x"), "bad"), RawRatio(Query(" x "), "bad"), True),
            (RawRatio(Query("x"), "bad"), RawRatio(Query("x"), "good"), False),
            (RawRatio(Query("x"), "bad"), RawRatio(Query("y"), "bad"), False),
            (Probe(Selector("x{}")), Probe(Selector("x")), True),
            (Probe(Selector("x")), Probe(Selector("y")), False),
            (Latency(Selector("x"), Decimal(1)), Latency(Selector("x"), Decimal(2)), True),
            (Latency(Selector("x"), Decimal(1)), Latency(Selector("x"), Decimal(1), native=True), False),
            (Ratio(Selector("x"), "bad", Selector("y")), Ratio(Selector("x"), "bad", Query("y")), False),
            (Ratio(Selector("x"), "bad", Selector("y")), Ratio(Query("x"), "bad", Selector("y")), False),
            (Ratio(Selector("x"), "bad", Selector("y")), Ratio(Selector("x"), "bad", Selector("z")), False),
        ],
    )
    def test_sources_are_the_same_when_they_count_the_same(self, one: Any, other: Any, same: bool) -> None:
        assert same_source(one, other) is same

    def test_bounds_of_a_source_that_is_no_histogram_any_more_are_not_told(self) -> None:
        assert [each.kind for each in changes(STACK, with_slo(replace(LATENCY, source=Probe(Selector("up")))))] == [
            "source"
        ]

    def test_a_new_name_with_the_same_source_is_a_renaming(self) -> None:
        renamed = replace(AVAILABILITY, name="uptime")
        old = with_tenant("vip-customer-123", objectives=())
        change = only(old, replace(old, slos=(renamed, LATENCY)))
        assert (change.what, change.before, change.after) == ("uptime: name", "availability", "uptime")
        assert "the budget starts anew" in change.effect

    def test_one_that_counts_something_else_is_a_new_one(self) -> None:
        old = with_tenant("vip-customer-123", objectives=())
        other = replace(AVAILABILITY, name="uptime", source=Probe(Selector("up")))
        found = changes(old, replace(old, slos=(other, LATENCY)))
        assert [(each.kind, each.what, each.severity) for each in found] == [
            ("slo", "availability", "removed"),
            ("slo", "uptime", "added"),
        ]

    @pytest.mark.parametrize(
        ("old", "new", "effect"),
        [
            (None, Calendar("month", "UTC"), "starts anew"),
            (Calendar("month", "UTC"), None, "starts anew"),
            (Calendar("month", "UTC"), Calendar("quarter", "UTC"), "counts in part"),
            (Calendar("month", "UTC"), Calendar("month", "Europe/Berlin"), "turn of the period"),
        ],
    )
    def test_another_kind_of_window_says_what_becomes_of_the_budget(
        self, old: Calendar | None, new: Calendar | None, effect: str
    ) -> None:
        before, after = (with_slo(replace(AVAILABILITY, calendar=calendar)) for calendar in (old, new))
        change = only(before, after)
        assert change.kind == "window"
        assert effect in change.effect

    def test_another_rolling_window_changes_the_factors_as_well(self) -> None:
        found = changes(STACK, with_slo(replace(AVAILABILITY, window_seconds=60 * 86400)))
        assert [(each.what, each.before, each.after, each.severity) for each in found[:2]] == [
            ("availability", "the last 30d", "the last 60d", "changed"),
            ("availability: 1h: factor", "14.4", "28.8", "quieter"),
        ]

    @pytest.mark.parametrize(
        ("change", "what", "word"),
        [
            ({"severity": "ticket"}, "severity", "quieter"),
            ({"own_factor": Decimal(10)}, "factor", "louder"),
            ({"own_factor": Decimal(20)}, "factor", "quieter"),
            ({"short_seconds": 600}, "short window", "changed"),
            ({"for_seconds": 120}, "for", "quieter"),
            ({"keep_firing_for_seconds": 600}, "keep_firing_for", "louder"),
        ],
    )
    def test_burn_tiers_are_told_by_field(self, change: dict[str, Any], what: str, word: Word) -> None:
        first, *rest = AVAILABILITY.burn
        found = only(STACK, with_slo(replace(AVAILABILITY, burn=(replace(first, **change), *rest))))
        assert (found.kind, found.what, found.severity) == ("burn tier", f"availability: 1h: {what}", word)

    def test_the_same_factor_said_otherwise_is_no_change(self) -> None:
        first, *rest = AVAILABILITY.burn
        same = replace(first, own_factor=Decimal("14.40"), budget_share=Decimal(0))
        assert changes(STACK, with_slo(replace(AVAILABILITY, burn=(same, *rest)))) == ()

    def test_switching_a_tier_off_is_quieter_and_on_is_louder(self) -> None:
        fewer = with_slo(replace(AVAILABILITY, burn=AVAILABILITY.burn[1:]))
        expected = ("burn tier", "availability: 1h", "page at 14.4x", None, "quieter")
        assert told(changes(STACK, fewer)) == [expected]
        assert told(changes(fewer, STACK)) == [(*expected[:2], None, "page at 14.4x", "louder")]

    @pytest.mark.parametrize(
        ("old", "new", "word"),
        [
            (BurnGuard(), BurnGuard("none"), "louder"),
            (BurnGuard("none"), BurnGuard("counts", 5), "quieter"),
            (BurnGuard("counts", 5), BurnGuard("counts", 10), "quieter"),
            (BurnGuard("counts", 5, 9), BurnGuard("counts", 5, 3), "louder"),
            (BurnGuard("counts", 5, 9), BurnGuard("counts", 6, 3), "changed"),
            (BurnGuard("counts", 5, 3), BurnGuard("counts", 6, 9), "quieter"),
            (BurnGuard("counts", 6, 9), BurnGuard("counts", 5, 3), "louder"),
            (BurnGuard(), BurnGuard("counts", 5), "changed"),
        ],
    )
    def test_guards_say_which_way(self, old: BurnGuard, new: BurnGuard, word: Word) -> None:
        before, after = (with_slo(replace(AVAILABILITY, guard=guard)) for guard in (old, new))
        assert only(before, after).severity == word


class TestRoutes:
    def test_what_counts_is_who_gets_what(self) -> None:
        """Without the second route, pages of VIPs reach the channel: it is the meaning of a list that got shorter."""
        change = only(STACK, replace(STACK, routes=(STACK.routes[0], *STACK.routes[2:])))
        assert told((change,)) == [
            (
                "route",
                "slo page of VIPs",
                "vip-pager, answers within 5m",
                "ops-channel, answers within 30m",
                "quieter",
            )
        ]

    def test_a_route_that_moves_in_front_of_another_takes_its_alerts(self) -> None:
        first, *rest = STACK.routes
        slo = Route("finance", None, "slo", "all", None)
        found = changes(STACK, replace(STACK, routes=(slo, first, *rest)))
        assert {(each.what, each.before) for each in found} == {
            ("slo page of VIPs", "vip-pager, answers within 5m"),
            ("slo page of others; slo ticket", "ops-channel, answers within 30m"),
        }

    @pytest.mark.parametrize(("within", "word"), [(3600, "stricter"), (36000, "looser"), (None, "looser")])
    def test_the_time_to_answer_says_which_way(self, within: int | None, word: Word) -> None:
        routes = tuple(replace(r, respond_within_seconds=within) if r.to == "finance" else r for r in STACK.routes)
        assert only(STACK, replace(STACK, routes=routes)).severity == word

    def test_a_pager_that_becomes_a_channel_is_quieter(self) -> None:
        pager = next(each for each in STACK.receivers if each.name == "vip-pager")
        chat = Receiver(pager.name, (Slack("#x", "slack"),))
        receivers = tuple(chat if each == pager else each for each in STACK.receivers)
        change = only(STACK, replace(STACK, receivers=receivers))
        assert (change.kind, change.before, change.after, change.severity) == (
            "receiver",
            "PagerDuty (key pagerduty)",
            "Slack #x (URL slack)",
            "quieter",
        )

    def test_a_vip_no_longer_is_told(self) -> None:
        change = only(STACK, with_tenant("vip-customer-456", vip=False))
        assert (change.what, change.before, change.after, change.severity) == (
            "vip-customer-456: vip",
            "yes",
            "no",
            "quieter",
        )


class TestTheRest:
    @pytest.mark.parametrize(
        ("alert", "new", "word"),
        [
            ("CacheEffectivenessDrop", {"limit": Decimal("0.4")}, "louder"),
            ("CacheEffectivenessDrop", {"limit": Decimal("0.2")}, "quieter"),
            ("LowConfidenceSpike", {"limit": Decimal(40)}, "quieter"),
            ("LowConfidenceSpike", {"limit": Decimal(20)}, "louder"),
            ("LowConfidenceSpike", {"for_seconds": 60}, "louder"),
            ("LowConfidenceSpike", {"severity": "critical"}, "louder"),
            ("LowConfidenceSpike", {"scope": "vip"}, "quieter"),
            ("LowConfidenceSpike", {"direction": "<"}, "changed"),
        ],
    )
    def test_thresholds_say_which_way(self, alert: str, new: dict[str, Any], word: Word) -> None:
        thresholds = tuple(replace(t, **new) if t.alert == alert else t for t in STACK.thresholds)
        assert only(STACK, replace(STACK, thresholds=thresholds)).severity == word

    def test_a_tenant_that_is_gone_is_unlisted_from_now_on(self) -> None:
        change = only(STACK, replace(STACK, tenants=STACK.tenants[:-1]))
        assert told((change,)) == [("tenant", "tier free: 1 tenant", "hooli", None, "removed")]
        assert "unlisted" in change.effect

    def test_a_window_that_is_left_out_of_budgets_makes_them_looser(self) -> None:
        window = Maintenance("patching", Recurring((0,), None, 7200, 1800, "UTC"), (), ("availability",), True)
        planned = replace(STACK, maintenance=(window,))
        assert told(changes(STACK, planned)) == [
            (
                "maintenance",
                "patching",
                None,
                "every Sun at 02:00 (UTC) for 30m, for all tenants, availability, left out of budgets",
                "looser",
            )
        ]
        counted = replace(STACK, maintenance=(replace(window, excluded=False),))
        assert only(planned, counted).severity == "stricter"
        assert only(STACK, counted).severity == "added"

    def test_composites_are_compared_by_their_parts(self) -> None:
        one, other, fewer = (
            replace(STACK, composites=(Composite("all", "", of, "x"),))
            for of in (("availability", "latency"), ("latency", "availability"), ("latency",))
        )
        assert changes(one, other) == ()
        assert only(one, fewer).what == "all: of"

    def test_names_that_history_hangs_on_say_so(self) -> None:
        assert "start anew" in only(STACK, replace(STACK, tenant_label="customer")).effect
        assert any("starts anew" in each.effect for each in changes(STACK, replace(STACK, namespace="x")))
        slower = changes(STACK, replace(STACK, evaluation_interval_seconds=60))
        assert "counts of events are off" in slower[0].effect

    @pytest.mark.parametrize("part", ["health", "costs", "smtp", "demo"])
    def test_whole_parts_come_and_go(self, part: str) -> None:
        without = replace(STACK, **{part: None}, thresholds=() if part == "health" else STACK.thresholds)
        came, gone = (
            [each for each in found if each.kind != "threshold"]
            for found in (
                changes(without, STACK),
                changes(STACK, without),
            )
        )
        assert {each.severity for each in came} == {"added"}
        assert {each.severity for each in gone} == {"removed"}
        assert [each.before for each in came] == [each.after for each in gone] == [None] * len(came)

    def test_a_threshold_for_vips_is_told_as_such(self) -> None:
        found = changes(STACK, replace(STACK, thresholds=()))
        words = {each.what: each.before for each in found if each.kind == "threshold"}
        assert words["CacheEffectivenessDropVIP"] == "critical for VIPs when cache_hit_ratio < 0.2 for 10m"
        assert words["CacheEffectivenessDrop"] == "general when cache_hit_ratio < 0.3 for 15m"

    def test_long_lists_are_cut(self) -> None:
        assert listing("abcdef", 3) == "a, b, c and 3 more"
        assert listing([]) == "none"


# -- the command


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(diff, [str(word) for word in words])


class TestCommand:
    def test_status_0_says_the_same_meaning(self) -> None:
        done = run(AETHER, AETHER)
        assert (done.exit_code, done.output) == (0, "no change in meaning\n")
        assert json.loads(run(AETHER, AETHER, "--format", "json").output) == {"same": True, "changes": []}

    def test_status_1_shows_the_changes(self, tmp_path: Path) -> None:
        new = changed_copy(tmp_path, {"slos.yml": {"pro: 99.9,": "pro: 99.95,"}})
        done = run(AETHER, new)
        assert done.exit_code == 1
        text = " ".join(done.output.split())
        assert "stricter availability, tier pro (3 tenants) 99.9 % → 99.95 %" in text
        assert "1 change in meaning: 1 stricter" in text
        assert max(len(line.rstrip()) for line in done.output.splitlines()) <= 100

    def test_json_has_every_change(self, tmp_path: Path) -> None:
        new = changed_copy(tmp_path, {"slos.yml": {"pro: 99.9,": "pro: 99.95,"}})
        done = run(AETHER, new, "--format", "json")
        assert done.exit_code == 1
        found = json.loads(done.output)
        assert found["same"] is False
        assert found["changes"][0]["severity"] == "stricter"

    @pytest.mark.parametrize("faulty_first", [True, False])
    def test_status_2_shows_problems_and_no_changes(self, tmp_path: Path, faulty_first: bool) -> None:
        faulty = changed_copy(tmp_path, {"slos.yml": {"objective: 99\n": "objective: 100\n"}})
        done = run(*((faulty, AETHER) if faulty_first else (AETHER, faulty)))
        assert done.exit_code == 2
        assert "B114" in done.stderr
        assert done.stdout == ""

    def test_status_2_for_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        done = run(AETHER, tmp_path / "nothing")
        assert done.exit_code == 2
        assert "nothing" in done.stderr

    def test_problems_of_both_folders_are_shown(self, tmp_path: Path) -> None:
        for name, number in (("one", "100"), ("two", "0")):
            (tmp_path / name).mkdir()
            changed_copy(tmp_path / name, {"slos.yml": {"objective: 99\n": f"objective: {number}\n"}})
        done = run(tmp_path / "one" / "aether", tmp_path / "two" / "aether")
        assert "one/aether/slos.yml" in done.stderr
        assert "two/aether/slos.yml" in done.stderr
