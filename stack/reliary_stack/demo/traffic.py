"""The pure traffic model of the demo: how many questions a tenant asks, and what becomes of each.

Nothing in here reads a clock or draws from a hidden source: time comes in as epoch seconds (UTC), chance as a
`random.Random`. The demo service draws from this model; the backfill of history uses its expectation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from random import Random
from statistics import NormalDist

HOUR = 3600.0
DAY = 24 * HOUR

PEAK_HOUR, TROUGH_HOUR = 14, 3
TROUGH_SHARE = 0.25
WEEKEND_SHARE = 0.6
NOISE = 0.15

LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
SLOW_SECONDS = 0.5
TOO_SLOW_SECONDS = 2.5

INPUT_TOKENS = (600, 3000)
OUTPUT_TOKENS = (100, 600)

ONE_BAD_PERIOD_SECONDS = 6.0
ONE_BAD_CYCLE = 10
COST_SPIKE_FACTOR = 20
SLOW_FACTOR = 10

_SERVICE_START = 1_704_067_200.0
_BYTES_AT_START = 2.0 * 2**30
_BYTES_PER_DAY = 20.0 * 2**20


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """A tenant of the demo; its rate is the one of a weekday at 14:00 UTC, in requests per second."""

    id: str
    peak_requests_per_second: float

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("a demo tenant needs an id")
        if not 0 <= self.peak_requests_per_second < math.inf:
            raise ValueError(f"tenant {self.id}: peak_requests_per_second must be finite and not negative")


class Fault(StrEnum):
    """What can be switched on for a tenant. Several at once add up; an outage outdoes the rest."""

    QUALITY_DROP = "quality_drop"
    CACHE_COLLAPSE = "cache_collapse"
    OUTAGE = "outage"
    NO_TRAFFIC = "no_traffic"
    ONE_BAD_REQUEST = "one_bad_request"
    SLOW = "slow"
    COST_SPIKE = "cost_spike"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The odds of one request; each ratio is a probability from 0 to 1, latencies are log-normal."""

    error_ratio: float = 0.00005
    cache_hit_ratio: float = 0.62
    eligible_ratio: float = 0.5
    rerank_ratio: float = 0.45
    low_ratio: float = 0.08
    latency_median_seconds: float = 0.12
    latency_sigma: float = 0.5
    cost_factor: int = 1
    refused: bool = False
    failures_answer: bool = False


HEALTHY = Behaviour()

# Without spread and without odds, so that one request in ten is bad on every indicator and nine on none.
_GOOD = Behaviour(
    error_ratio=0,
    cache_hit_ratio=1,
    eligible_ratio=1,
    rerank_ratio=0,
    low_ratio=0,
    latency_sigma=0,
)
_BAD = Behaviour(
    error_ratio=1,
    cache_hit_ratio=0,
    eligible_ratio=1,
    rerank_ratio=1,
    low_ratio=1,
    latency_median_seconds=TOO_SLOW_SECONDS,
    latency_sigma=0,
    failures_answer=True,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What became of one request; None where it never got that far (no cache lookup, no answer)."""

    code: int
    latency_seconds: float
    cached: bool | None = None
    rerank_eligible: int = 0
    rerank_calls: int = 0
    confidence: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Expected events of one tenant in an interval: means, hence fractions."""

    requests: float
    errors: float
    slow: float
    cache_requests: float
    hits: float
    rerank_eligible: float
    rerank_calls: float
    answers: float
    low: float
    input_tokens: float
    output_tokens: float


COUNTED: dict[str, Callable[[Counts], float]] = {
    "http_requests_total": lambda counts: counts.requests,
    'http_requests_total{code=~"5.."}': lambda counts: counts.errors,
    "http_request_duration_seconds_count": lambda counts: counts.requests,
    "aether_cache_requests_total": lambda counts: counts.cache_requests,
    "aether_cache_hits_total": lambda counts: counts.hits,
    "aether_rerank_eligible_total": lambda counts: counts.rerank_eligible,
    "aether_rerank_calls_total": lambda counts: counts.rerank_calls,
    "aether_answers_total": lambda counts: counts.answers,
    'aether_answers_total{confidence="low"}': lambda counts: counts.low,
    'aether_tokens_total{direction="input"}': lambda counts: counts.input_tokens,
    'aether_tokens_total{direction="output"}': lambda counts: counts.output_tokens,
}
"""How the counts show in the demo's metrics: a selector without spaces, and the count that it selects."""


def rate(tenant: DemoTenant, now: float) -> float:
    """Mean requests per second at `now`: peak at 14:00, a quarter of it at 3:00, less at weekends."""
    return tenant.peak_requests_per_second * _daily_shape(now) * _weekly_shape(now)


def noise(tenant: DemoTenant, now: float) -> float:
    """A factor around 1 that changes every minute; the same tenant and minute give the same factor."""
    digest = blake2b(f"{int(now // 60)}:{tenant.id}".encode(), digest_size=4).digest()
    return 1 + NOISE * (2 * int.from_bytes(digest) / 2**32 - 1)


def _daily_shape(now: float) -> float:
    since_trough = (now / HOUR - TROUGH_HOUR) % 24
    rise = PEAK_HOUR - TROUGH_HOUR
    # The climb takes 11 hours and the fall 13: each gets a half cosine of its own.
    phase = since_trough / rise if since_trough < rise else 1 + (since_trough - rise) / (24 - rise)
    return TROUGH_SHARE + (1 - TROUGH_SHARE) * (1 - math.cos(math.pi * phase)) / 2


def _weekly_shape(now: float) -> float:
    day, second = divmod(now, DAY)
    # People stop gradually: without the fade, every weekend would begin with a cliff at midnight.
    fade = min(1.0, second / (TROUGH_HOUR * HOUR))
    return fade * _day_share(int(day)) + (1 - fade) * _day_share(int(day) - 1)


def _day_share(day: int) -> float:
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    return WEEKEND_SHARE if weekday >= 5 else 1.0


def storage_bytes(tenant: DemoTenant, now: float) -> float:
    """Bytes that the tenant stores at `now`: grows evenly, in proportion to its peak traffic."""
    days = max(0.0, now - _SERVICE_START) / DAY
    return tenant.peak_requests_per_second * (_BYTES_AT_START + _BYTES_PER_DAY * days)


def poisson(mean: float, rng: Random) -> int:
    """A Poisson draw: exact up to a mean of 50, rounded from the normal distribution above it."""
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def arrivals(tenant: DemoTenant, faults: Collection[Fault], since: float, until: float, rng: Random) -> int:
    """How many requests arrive after `since`, up to and including `until`; none if time ran backwards."""
    if until <= since or Fault.NO_TRAFFIC in faults:
        return 0
    if Fault.ONE_BAD_REQUEST in faults:
        return math.floor(until / ONE_BAD_PERIOD_SECONDS) - math.floor(since / ONE_BAD_PERIOD_SECONDS)
    return poisson(rate(tenant, until) * noise(tenant, until) * (until - since), rng)


def behaviour(faults: Collection[Fault], ordinal: int = 0) -> Behaviour:
    """The odds under these faults; `ordinal` tells the one bad request in ten (0, 10, 20 ...)."""
    result = HEALTHY
    if Fault.ONE_BAD_REQUEST in faults:
        result = _GOOD if ordinal % ONE_BAD_CYCLE else _BAD
    if Fault.QUALITY_DROP in faults:
        result = replace(result, low_ratio=0.65)
    if Fault.CACHE_COLLAPSE in faults:
        result = replace(result, cache_hit_ratio=0.0)
    if Fault.SLOW in faults:
        result = replace(result, latency_median_seconds=SLOW_FACTOR * result.latency_median_seconds)
    if Fault.COST_SPIKE in faults:
        result = replace(result, cost_factor=COST_SPIKE_FACTOR)
    return replace(result, refused=Fault.OUTAGE in faults)


def request(odds: Behaviour, rng: Random) -> Request:
    """One request under these odds."""
    latency = rng.lognormvariate(math.log(odds.latency_median_seconds), odds.latency_sigma)
    if odds.refused:
        return Request(code=503, latency_seconds=latency)
    failed = rng.random() < odds.error_ratio
    cached = rng.random() < odds.cache_hit_ratio
    # A cost spike is a runaway loop: it asks for more passes, so calls never outnumber what was eligible.
    eligible = odds.cost_factor if rng.random() < odds.eligible_ratio else 0
    calls = eligible if rng.random() < odds.rerank_ratio else 0
    spends = not (failed or cached)
    return Request(
        code=500 if failed else 200,
        latency_seconds=latency,
        cached=cached,
        rerank_eligible=eligible,
        rerank_calls=calls,
        confidence=_confidence(odds, rng) if odds.failures_answer or not failed else None,
        input_tokens=odds.cost_factor * rng.randint(*INPUT_TOKENS) if spends else 0,
        output_tokens=odds.cost_factor * rng.randint(*OUTPUT_TOKENS) if spends else 0,
    )


def _confidence(odds: Behaviour, rng: Random) -> str:
    if rng.random() < odds.low_ratio:
        return "low"
    return "high" if rng.random() < 0.75 else "medium"


def expected_counts(tenant: DemoTenant, start: float, seconds: float) -> Counts:
    """What a healthy tenant does on average for `seconds` from `start` (epoch); ValueError if negative."""
    requests = _expected_requests(tenant, start, seconds)
    answers = requests * (1 - HEALTHY.error_ratio)
    eligible = requests * HEALTHY.eligible_ratio
    paid = answers * (1 - HEALTHY.cache_hit_ratio)
    return Counts(
        requests=requests,
        errors=requests * HEALTHY.error_ratio,
        slow=requests * (1 - healthy_share_within(SLOW_SECONDS)),
        cache_requests=requests,
        hits=requests * HEALTHY.cache_hit_ratio,
        rerank_eligible=eligible,
        rerank_calls=eligible * HEALTHY.rerank_ratio,
        answers=answers,
        low=answers * HEALTHY.low_ratio,
        input_tokens=paid * sum(INPUT_TOKENS) / 2,
        output_tokens=paid * sum(OUTPUT_TOKENS) / 2,
    )


def healthy_share_within(seconds: float) -> float:
    """The share (0 to 1) of healthy requests that take at most `seconds` (above 0), as a bucket holds it."""
    logarithms = NormalDist(math.log(HEALTHY.latency_median_seconds), HEALTHY.latency_sigma)
    return logarithms.cdf(math.log(seconds))


def _expected_requests(tenant: DemoTenant, start: float, seconds: float) -> float:
    if seconds < 0:
        raise ValueError(f"an interval cannot last {seconds} seconds")
    # The shape bends slowly: midpoints five minutes apart integrate it to about one part in 100,000.
    steps = max(1, math.ceil(seconds / 300))
    width = seconds / steps
    return width * sum(rate(tenant, start + (i + 0.5) * width) for i in range(steps))
