"""What an SLO counts, as PromQL: rates per tenant of all events and of bad ones, over any window.

Errors are zero where only the bad series is missing; where a bucket or the whole service is missing, so are they.
Neither is ever NaN, which one sum over 30 days would keep for 30 days.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from reliary import names, promql
from reliary.model import Events, Latency, Probe, Ratio, RawRatio, Selector, Slo, Stack
from reliary.promql import number, series


def total(stack: Stack, slo: Slo, window_seconds: int) -> str:
    """Events a second."""
    source = slo.source
    if isinstance(source, Ratio):
        return _rate(stack, source.total, window_seconds)
    if isinstance(source, Probe):
        return f"{_samples(stack, source, 'count_over_time', window_seconds)} / {window_seconds}"
    if isinstance(source, RawRatio):
        return f"0 * {_share(stack, source, window_seconds)} + 1 / 60"
    if source.native:
        return f"histogram_count({_histogram(stack, source, window_seconds)})"
    return _rate(stack, Selector(promql.suffixed(source.histogram.text, "_count")), window_seconds)


def errors(stack: Stack, slo: Slo, window_seconds: int, all_events: str) -> str:
    """Bad events a second; `all_events` is an expression or series of the total over the same window."""
    source, on = slo.source, f"on ({stack.tenant_label})"
    if isinstance(source, RawRatio):
        share = f"clamp({_share(stack, source, window_seconds)}, 0, 1)"
        return f"({share if source.part == 'bad' else f'1 - {share}'}) / 60"
    if isinstance(source, Ratio):
        counted = promql.zero_filled(_rate(stack, source.counted, window_seconds), all_events, [stack.tenant_label])
        return counted if source.part == "bad" else f"clamp_min({all_events} - {on} ({counted}), 0)"
    if isinstance(source, Probe):
        good = f"{_samples(stack, source, 'sum_over_time', window_seconds)} / {window_seconds}"
        return f"clamp_min(({all_events} - {on} {good}) > -Inf, 0)"
    if source.native:
        good = _native(stack, source, window_seconds)
        return f"clamp_min(({all_events} > 0) - {on} ({good}), 0)\nor {on}\n0 * {all_events}"
    return f"clamp_min({all_events} - {on} ({_classic(stack, source, window_seconds)}), 0)"


def _rate(stack: Stack, events: Events, window_seconds: int) -> str:
    if isinstance(events, Selector):
        # A sample that is not a number would make the sum none, and keep it so for the whole window.
        return f"({promql.sum_by([stack.tenant_label], promql.rate(events.text, window_seconds))} >= 0)"
    counted = events.text.replace(promql.WINDOW, names.duration(window_seconds))
    return f"({promql.sum_by([stack.tenant_label], counted)} >= 0) / {window_seconds}"


def _samples(stack: Stack, source: Probe, function: str, window_seconds: int) -> str:
    window = names.duration(window_seconds)
    return promql.sum_by([stack.tenant_label], f"{function}({source.gauge.text}[{window}])")


def _share(stack: Stack, source: RawRatio, window_seconds: int) -> str:
    """One share for each tenant; the comparison leaves out NaN, which is what 0/0 gives."""
    query = source.query.text.replace(promql.WINDOW, names.duration(window_seconds))
    return f"(max by ({stack.tenant_label}) ({query}) >= 0)"


def _histogram(stack: Stack, source: Latency, window_seconds: int) -> str:
    return promql.sum_by([stack.tenant_label], promql.rate(source.histogram.text, window_seconds))


def _native(stack: Stack, source: Latency, window_seconds: int) -> str:
    """Good events of a native histogram, interpolated within the bucket that holds the bound."""
    seen = _histogram(stack, source, window_seconds)

    def within(bound: str) -> str:
        return f"histogram_fraction(-Inf, {bound}, {seen}) * histogram_count({seen})"

    return _by_tier(stack, source, within)


def _classic(stack: Stack, source: Latency, window_seconds: int) -> str:
    def within(bound: str) -> str:
        bucket = promql.with_matcher(promql.suffixed(source.histogram.text, "_bucket"), bucket_matcher(Decimal(bound)))
        return _rate(stack, Selector(bucket), window_seconds)

    return _by_tier(stack, source, within)


def bucket_matcher(bound: Decimal) -> str:
    """A matcher on `le` for a bound, in the ways that clients write it: `1`, `1.0`; from a million on `1.2096e+06`."""
    text = number(bound)
    if bound >= 1_000_000:
        shown = f"{bound.normalize():e}".split("e")
        scientific = f"{shown[0].replace('.', '[.]')}e[+]{int(shown[1]):02d}"
        return f'le=~"{text}(?:[.]0)?|{scientific}"'
    return f'le="{text}"' if "." in text else f'le=~"{text}(?:[.]0)?"'


def _by_tier(stack: Stack, source: Latency, within: Callable[[str], str]) -> str:
    """Each tenant's good events under the bound of its tier. Clients write whole bounds as `1` or as `1.0`."""
    default = within(number(source.within_seconds))
    if not source.by_tier:
        return default
    on, own = f"on ({stack.tenant_label})", [tier for tier, _ in source.by_tier]
    parts = [
        f"({within(number(bound))} and {on} {series(names.TENANT_INFO, ('tier', tier))})"
        for tier, bound in source.by_tier
    ]
    others = f"{names.TENANT_INFO}{{tier=~{promql.quoted(promql.any_of(own))}}}"
    return "\n  or ".join([*parts, f"({default} unless {on} {others})"])
