"""What is scraped and probed, and the workload that stands in for a service."""

from __future__ import annotations

from decimal import Decimal

from reliary.definitions.root import Root
from reliary.definitions.shapes import Fields
from reliary.model import Demo, Service
from reliary.names import EXPORTER_JOB
from reliary.problems import Place

OWN_JOBS = ("prometheus", "alertmanager", EXPORTER_JOB)
"""Jobs that every stack scrapes; Prometheus refuses two jobs of one name."""


def services(root: Root) -> tuple[Service, ...]:
    """The services. No two give Prometheus the same job, and nothing is scraped twice."""
    scraped: dict[tuple[str, str], Place] = {}
    found = []
    for name, place, row in root.records("services"):
        service = Service(
            name,
            tuple(item.value for item in row.items("scrape", str)),
            row.maybe("metrics_path", str) or "/metrics",
            tuple(item.value for item in row.items("probe", str)),
        )
        _scraped_once(root, service, row, scraped)
        if name in OWN_JOBS:
            message = f"the stack itself scrapes a job that is called {name}."
            root.faults.add("B117", place, message, "Choose another name.")
        found.append((service, place))
    _probe_jobs(root, found)
    return tuple(service for service, _ in found)


def _scraped_once(root: Root, service: Service, row: Fields, scraped: dict[tuple[str, str], Place]) -> None:
    for item in row.items("scrape", str):
        target = (item.value, service.metrics_path)
        if target in scraped:
            message = f"`{item.value}` is scraped twice; the first is at {scraped[target]}."
            root.faults.add("B115", item.place, message, "Remove one: every event of it would count twice.")
        scraped.setdefault(target, item.place)


def _probe_jobs(root: Root, found: list[tuple[Service, Place]]) -> None:
    probed = {f"{service.name}-probe" for service, _ in found if service.probes}
    for service, place in found:
        if service.name in probed:
            other = service.name.removesuffix("-probe")
            message = f"`{service.name}` is also the name of the job that probes `{other}`."
            root.faults.add("B117", place, message, "Choose another name.")


def demo(root: Root) -> Demo | None:
    """The workload, None when the definitions have none or it could not be read."""
    row = root.fields.maybe("demo", Fields)
    if row is None or not row.whole:
        return None
    service, seed = row.get("service", str), row.maybe("seed", Decimal)
    root.known(service, root.names("services"), "service", row.at("service"))
    rates = root.numbers(row, "requests_per_second", root.names("tiers"), "tier")
    return Demo(service, 1 if seed is None else int(seed), tuple((tier, rate) for tier, rate, _ in rates))
