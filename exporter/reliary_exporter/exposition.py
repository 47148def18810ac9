"""Metric families as bytes, ready before anybody asks, and the choice among them that a scraper's headers make."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import exposition as text_format
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics_format
from prometheus_client.registry import Collector

TEXT_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# The library leaves this function without types.
_openmetrics: Callable[[Collector], bytes] = openmetrics_format.generate_latest
_END_OF_OPENMETRICS = b"# EOF\n"
# Level 1 packs these repetitive lines nearly as well as level 9, in a tenth of the time.
_GZIP_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Body:
    """The same bytes plain and packed by gzip."""

    plain: bytes
    packed: bytes


@dataclass(frozen=True, slots=True)
class Exposition:
    """The families in the Prometheus text format 0.0.4 and in OpenMetrics 1.0."""

    text: Body
    openmetrics: Body


@dataclass(frozen=True, slots=True)
class Choice:
    """What one scraper gets; `encoding` is `gzip` or None."""

    content_type: str
    encoding: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class _Families:
    """The registry that prometheus_client's formatters ask for."""

    metrics: Sequence[Metric]

    def collect(self) -> Sequence[Metric]:
        return self.metrics


def render(families: Sequence[Metric]) -> Exposition:
    """All representations of the families. Of types, only gauges and counters are known here."""
    counters = _Families([family for family in families if family.type == "counter"])
    gauges = _Families([family for family in families if family.type == "gauge"])
    # Gauges, nearly all of the bytes, are spelled alike in both formats: formatting them once halves the work.
    shared = text_format.generate_latest(gauges)
    text = text_format.generate_latest(counters) + shared
    openmetrics = _openmetrics(counters).removesuffix(_END_OF_OPENMETRICS) + shared
    return Exposition(_body(text), _body(openmetrics + _END_OF_OPENMETRICS))


def choose(exposition: Exposition, accept: str, accept_encoding: str) -> Choice:
    """The representation that fits the Accept and Accept-Encoding headers; plain text 0.0.4 fits everybody."""
    if _wants_openmetrics(accept):
        content_type, body = OPENMETRICS_CONTENT_TYPE, exposition.openmetrics
    else:
        content_type, body = TEXT_CONTENT_TYPE, exposition.text
    packed = text_format.gzip_accepted(accept_encoding)
    return Choice(content_type, "gzip" if packed else None, body.packed if packed else body.plain)


def _wants_openmetrics(accept: str) -> bool:
    try:
        _, content_type = text_format.choose_encoder(accept)
    except (TypeError, ValueError):
        # A version that is no number.
        return False
    return content_type.startswith("application/openmetrics-text")


def _body(plain: bytes) -> Body:
    return Body(plain, gzip.compress(plain, _GZIP_LEVEL, mtime=0))
