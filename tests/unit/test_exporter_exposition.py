"""The bytes of a scrape: both formats say the same, any tenant id survives, and headers choose."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import exposition as library
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from reliary.exporterfile import ExporterTenant
from reliary_exporter.collector import families
from reliary_exporter.exposition import OPENMETRICS_CONTENT_TYPE, TEXT_CONTENT_TYPE, choose, render
from reliary_exporter.snapshot import Activity, Reading, Snapshot, State, TenantValue
from unit.test_exporter_fakes import config

any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def state(*tenants: str) -> State:
    values = tuple(TenantValue(tenant, "", 12345678.9) for tenant in tenants)
    components = tuple(TenantValue(tenant, "cache", 1e-9) for tenant in tenants)
    listed = tuple(ExporterTenant(tenant, "pro", False, None) for tenant in tenants)
    snapshot = Snapshot(1.0, Reading(1.0, values), Reading(1.0, components), Reading(1.0, values))
    return State(config(tenants=listed), snapshot, Activity().after(0.1, ()))


def tenants_in(families: object, series: str) -> set[str]:
    return {
        sample.labels["tenant_id"]
        for family in families  # type: ignore[attr-defined]
        for sample in family.samples
        if sample.name == series
    }


@settings(deadline=None)
@given(st.sets(any_text, min_size=1, max_size=4))
@example({'"', "\n", "\\", "\\n", '\\"', "\\\\n", "a\r\nb"})
@example({'x"} 1\nreliary_build_info{release="forged', "🦊", " ", "}", "=,", "# EOF", "\x00", "\u2028"})
def test_any_tenant_id_survives_to_the_exposition_in_both_formats(tenants: set[str]) -> None:
    exposition = render(families(state(*tenants), now=1.0))
    for series in ("reliary_tenant_info", "reliary_cost_estimated_usd", "reliary_health_component_score"):
        assert tenants_in(parse_text(exposition.text.plain.decode()), series) == tenants
        openmetrics = parse_openmetrics(exposition.openmetrics.plain.decode())  # type: ignore[no-untyped-call]
        assert tenants_in(openmetrics, series) == tenants


def test_both_formats_are_what_the_library_makes_of_all_families_together() -> None:
    every = families(state("acme", "vip-123"), now=1.0)
    counters_first = sorted(every, key=lambda family: family.type)

    class Registry:
        def collect(self) -> object:
            return counters_first

    exposition = render(every)
    assert exposition.text.plain == library.generate_latest(Registry())  # type: ignore[arg-type]
    assert exposition.openmetrics.plain == generate_latest(Registry())  # type: ignore[no-untyped-call]


def test_no_family_is_lost_on_the_way_to_the_bytes() -> None:
    every = families(state("acme"), now=1.0)
    parsed = list(parse_text(render(every).text.plain.decode()))
    assert {family.name for family in parsed} == {family.name for family in every}
    assert all(family.documentation for family in parsed)


def test_the_packed_bytes_are_the_plain_ones_and_the_same_each_time() -> None:
    every = families(state("acme"), now=1.0)
    exposition = render(every)
    assert gzip.decompress(exposition.text.packed) == exposition.text.plain
    assert gzip.decompress(exposition.openmetrics.packed) == exposition.openmetrics.plain
    assert render(every) == exposition


PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS_2, OPENMETRICS_CONTENT_TYPE),
        (PROMETHEUS_3, OPENMETRICS_CONTENT_TYPE),
        ("application/openmetrics-text", OPENMETRICS_CONTENT_TYPE),
        ("text/plain;version=0.0.4", TEXT_CONTENT_TYPE),
        ("text/plain;version=1.0.0", TEXT_CONTENT_TYPE),
        ("application/openmetrics-text;version=nonsense", TEXT_CONTENT_TYPE),
        ("text/html,*/*", TEXT_CONTENT_TYPE),
        ("", TEXT_CONTENT_TYPE),
    ],
)
def test_the_accept_header_chooses_the_format(accept: str, content_type: str) -> None:
    exposition = render(families(state("acme"), now=1.0))
    choice = choose(exposition, accept, "")
    body = exposition.openmetrics if content_type == OPENMETRICS_CONTENT_TYPE else exposition.text
    assert (choice.content_type, choice.encoding, choice.body) == (content_type, None, body.plain)


@pytest.mark.parametrize(("accept_encoding", "encoding"), [("gzip", "gzip"), ("br, GZIP;q=1", "gzip"), ("br", None)])
def test_the_accept_encoding_header_chooses_whether_it_is_packed(accept_encoding: str, encoding: str | None) -> None:
    exposition = render(families(state("acme"), now=1.0))
    choice = choose(exposition, "", accept_encoding)
    assert choice.encoding == encoding
    assert choice.body == (exposition.text.packed if encoding else exposition.text.plain)
