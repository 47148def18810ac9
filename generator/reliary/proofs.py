"""promtool unit tests, emitted with the rules: made-up traffic, and what must come of it.

Expected values are computed here from the definitions (never from the text of a rule): constant traffic makes every
ratio exact. The tenants of a proof are its cases, and carry their names: an alert must fire for `all-bad` and for
`just-past-the-limit`, and must not have fired for any other, nor for anybody before its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from reliary import names, promql, windows
from reliary.artifacts import File
from reliary.model import HealthScore, Indicator, Stack, Threshold
from reliary.promtool import Expectation, Stretch, Test, constant, counter, test_file
from reliary.samples import NoSample, feed

STEP_SECONDS = 30
BUSY = Decimal(1_000_000)
"""Requests in a step of a tenant whose counts leave no doubt, even next to a limit close to 0 or 1."""

NO_VIP = "all-bad-but-no-vip"

ZERO = Decimal(0)

Growth = dict[str, Decimal]
Cases = dict[str, tuple[Decimal, Decimal]]
"""Bad events and all events of a step, by the tenant who has them."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Counters that grow by the same amount every 30 s for a while (by fractions: now and then), and what is seen."""

    name: str
    growth: Growth
    seconds: int
    expected: tuple[Expectation, ...]
    facts: tuple[str, ...] = ()


def proof_files(stack: Stack) -> tuple[File, ...]:
    """`tests/*.yml` for `promtool test rules`."""
    return tuple(
        file
        for file in (
            _file(stack, "recording", ("support", "recording"), _recording(stack)),
            _file(stack, "alerts", ("support", "recording", "alerts"), _alerts(stack)),
        )
        if file is not None
    )


def unproven(stack: Stack) -> tuple[tuple[str, str], ...]:
    """Indicators for which no traffic could be made up, each with the reason; alerts on them have no proof."""
    return tuple((indicator.name, reason) for indicator in stack.indicators if (reason := _reason(stack, indicator)))


def _reason(stack: Stack, indicator: Indicator) -> str:
    try:
        feed(indicator, (stack.tenant_label, "a"), ZERO, ZERO)
    except NoSample as error:
        return str(error)
    return ""


# -- recorded values


def _recording(stack: Stack) -> Iterator[Scenario]:
    for indicator in stack.indicators:
        if not _reason(stack, indicator):
            yield from _values_of(stack, indicator)
    if stack.health and not any(_reason(stack, stack.indicator(part.indicator)) for part in stack.health.components):
        yield _scores(stack, stack.health)


def _values_of(stack: Stack, indicator: Indicator) -> Iterator[Scenario]:
    """A large tenant and a small one: the value over all is that of all events, not the mean of two ratios."""
    label, series = stack.tenant_label, names.indicator_series(stack, indicator)
    growth = feed(indicator, (label, "large"), Decimal(900), Decimal(1000)) | feed(
        indicator, (label, "small"), Decimal(1), Decimal(10)
    )
    at = indicator.over_seconds + 60
    expected = (
        _rounded(
            series,
            at,
            [(_tenant(label, "large"), Decimal("0.9")), (_tenant(label, "small"), Decimal("0.1"))],
            indicator.scale,
        ),
        _rounded(names.all_tenants(series), at, [("{}", Decimal(901) / 1010)], indicator.scale),
    )
    yield Scenario(f"{indicator.name} counts events, per tenant and over all", growth, at, expected)
    still = feed(indicator, (label, "large"), ZERO, ZERO)
    nothing = tuple(Expectation(f"count({name})", at, ()) for name in (series, names.all_tenants(series)))
    yield Scenario(f"{indicator.name} has no value without traffic", still, at, nothing)


def _scores(stack: Stack, health: HealthScore) -> Scenario:
    """The score of a tenant in perfect health, and of those that lost one component while all others are perfect."""
    at, label = health.over_seconds + 120, stack.tenant_label
    growth = _components(stack, health, None, "healthy", BUSY)
    values = [(_tenant(label, "healthy"), Decimal(100))]
    for lost in health.components:
        growth |= _components(stack, health, lost.name, f"lost-{lost.name}", BUSY)
        left = Decimal(100 - lost.weight)
        score = min(left, health.floor_ceiling) if health.floor_below > 0 else left
        values.append((_tenant(label, f"lost-{lost.name}"), score))
    return Scenario(
        "the health score, and its floor when one component collapses",
        growth,
        at,
        (_rounded(names.health_series(stack), at, values, 1),),
    )


def _components(stack: Stack, health: HealthScore, lost: str | None, tenant: str, total: Decimal) -> Growth:
    """Traffic of a tenant in perfect health but for one component; `total` requests in a step."""
    growth: Growth = {}
    for part in health.components:
        indicator = stack.indicator(part.indicator)
        value = part.zero if part.name == lost else part.full
        growth |= feed(indicator, (stack.tenant_label, tenant), total * value / indicator.scale, total)
    return growth


# -- alerts of the definitions


def _alerts(stack: Stack) -> Iterator[Scenario]:
    for threshold in stack.thresholds:
        if threshold.indicator == "health_score":
            if (scenario := _health_alert(stack, threshold)) is not None:
                yield scenario
        elif not _reason(stack, stack.indicator(threshold.indicator)):
            yield _indicator_alert(stack, threshold, stack.indicator(threshold.indicator))


def _indicator_alert(stack: Stack, threshold: Threshold, indicator: Indicator) -> Scenario:
    window, above = indicator.over_seconds, threshold.direction == ">"
    limit = threshold.limit / indicator.scale if above else 1 - threshold.limit / indicator.scale
    margin = min(limit, 1 - limit)
    past, near = BUSY * (limit + margin / 10), BUSY * (limit - margin / 20)
    cases: Cases = {"all-bad": (BUSY, BUSY), "just-past-the-limit": (past, BUSY), **quiet(limit, window)}
    cases |= {"healthy": (ZERO, BUSY), "just-within-the-limit": (near, BUSY)}
    if threshold.scope == "vip":
        cases |= {NO_VIP: (BUSY, BUSY)}
    growth: Growth = {}
    for tenant, (bad, total) in cases.items():
        growth |= feed(indicator, (stack.tenant_label, tenant), bad if above else total - bad, total)
    return _alert_scenario(stack, threshold, growth, window, tuple(cases), ("all-bad", "just-past-the-limit"))


def quiet(limit: Decimal, window_seconds: int, step_seconds: int = STEP_SECONDS) -> Cases:
    """Tenants of whom too little is seen for a verdict: bad and all events in a step.

    When all events of a window are bad, n - z sqrt(n) > limit n holds from n = (z / (1 - limit))^2 on; three quarters
    of that are not enough.
    """
    few = ((windows.CONFIDENCE_Z / (1 - limit)) ** 2 * 3 / 4).to_integral_value(ROUND_FLOOR)
    steps = Decimal(window_seconds) / step_seconds
    return {
        "no-traffic": (ZERO, ZERO),
        "one-bad-request": (1 / steps, 1 / steps),
        "one-bad-in-ten": (1 / steps, 10 / steps),
        f"{few}-requests-all-bad": (few / steps, few / steps),
    }


def _health_alert(stack: Stack, threshold: Threshold) -> Scenario | None:
    health = stack.health
    assert health is not None
    if any(_reason(stack, stack.indicator(part.indicator)) for part in health.components):
        return None
    steps = Decimal(health.over_seconds) / STEP_SECONDS
    growth = _components(stack, health, None, "healthy", BUSY)
    growth |= _components(stack, health, None, "no-traffic", ZERO)
    tenants, fires = ["healthy", "no-traffic"], []
    for lost in health.components:
        gone, single = f"lost-{lost.name}", f"one-request-bad-for-{lost.name}"
        growth |= _components(stack, health, lost.name, gone, BUSY)
        growth |= _components(stack, health, lost.name, single, 1 / steps)
        tenants += [gone, single]
        if min(Decimal(100 - lost.weight), health.floor_ceiling) < threshold.limit and threshold.direction == "<":
            fires.append(gone)
    return _alert_scenario(stack, threshold, growth, health.over_seconds, tuple(tenants), tuple(fires))


def _alert_scenario(
    stack: Stack, threshold: Threshold, growth: Growth, window: int, tenants: tuple[str, ...], fires: tuple[str, ...]
) -> Scenario:
    """Nobody before `for` has passed; in the end those in trouble, named by nothing but their own label."""
    end = window + threshold.for_seconds + 300
    expected = (
        _fired(stack, threshold.alert, threshold.for_seconds // 2),
        _fired(stack, threshold.alert, end, *fires),
    )
    return Scenario(
        f"{threshold.alert} fires for {' and '.join(fires)} alone", growth, end, expected, _facts(stack, tenants)
    )


# -- what must be seen


def _tenant(label: str, value: str) -> str:
    return promql.series("", (label, value))


def _rounded(series: str, at: int, values: list[tuple[str, Decimal]], scale: int) -> Expectation:
    """Values in hundredths of a percent: promtool compares floats bit by bit, and round numbers are exact."""
    factor = 10_000 // scale
    samples = tuple(
        (labels, int((value * scale * factor).quantize(Decimal(1), ROUND_HALF_EVEN))) for labels, value in values
    )
    return Expectation(f"round({series} * {factor})", at, samples)


def _fired(stack: Stack, alert: str, until: int, *tenants: str, burn: str | None = None) -> Expectation:
    """The tenants for whom an alert has fired at any time so far."""
    labels = [("alertname", alert), ("alertstate", "firing")] + ([("burn", burn)] if burn else [])
    label = stack.tenant_label
    ever = f"count_over_time({promql.series('ALERTS', *labels)}[{names.duration(until)}])"
    return Expectation(f"count by ({label}) ({ever})", until, tuple((_tenant(label, tenant), 1) for tenant in tenants))


def _facts(stack: Stack, tenants: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        promql.series(
            names.TENANT_INFO, (stack.tenant_label, tenant), ("tier", "t"), ("vip", str(tenant != NO_VIP).lower())
        )
        for tenant in tenants
    )


def _file(stack: Stack, topic: str, rules: tuple[str, ...], scenarios: Iterator[Scenario]) -> File | None:
    # Guards count events by the evaluation interval. A shorter one than the step only makes them stricter.
    evaluation = max(STEP_SECONDS, stack.evaluation_interval_seconds)
    about = f"Proof of rules/{topic}.yml of {stack.name}, for promtool test rules"
    return test_file(topic, about, rules, (), evaluation, map(_test, scenarios))


def _test(scenario: Scenario) -> Test:
    steps = scenario.seconds // STEP_SECONDS + 1
    grown = tuple((name, counter(Stretch(steps + 1, growth))) for name, growth in scenario.growth.items())
    facts = tuple((name, constant("1", steps)) for name in scenario.facts)
    return Test(scenario.name, STEP_SECONDS, grown + facts, scenario.expected)
