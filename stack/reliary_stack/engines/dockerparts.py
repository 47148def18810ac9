"""How the parts of a stack in containers find each other, and what Docker's words for their state mean here. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from reliary import composefile
from reliary.artifacts import Site
from reliary.model import Stack
from reliary_stack.engines.dockercli import Container
from reliary_stack.engines.dockerstate import State
from reliary_stack.engines.engine import Part, PartState

__all__ = ["compose_site", "part_of", "scraped"]


def compose_site(stack: Stack, ports: Mapping[str, int]) -> Site:
    """The site of containers that people reach on this machine at `ports`, by part."""
    return Site(
        prometheus_url=f"http://localhost:{ports['prometheus']}",
        alertmanager_url=f"http://localhost:{ports['alertmanager']}",
        grafana_url=f"http://localhost:{ports['grafana']}",
        targets=tuple(_unreachable(stack)),
    )


def _unreachable(stack: Stack) -> Iterator[tuple[str, str]]:
    """Addresses of the played service that the demo cannot have, and its own: it has many names, but one port."""
    targets = [target.rsplit(":", 1) for target in composefile.played_targets(stack)]
    for host, port in targets:
        if port != targets[0][1] or re.fullmatch(r"localhost|[0-9.]+", host):
            yield f"{host}:{port}", f"demo:{targets[0][1]}"


def scraped(stack: Stack, site: Site) -> dict[str, str]:
    """The parts by the address (host:port) at which Prometheus scrapes them."""
    found = {site.prometheus: "prometheus", site.alertmanager: "alertmanager", site.exporter: "exporter"}
    if site.blackbox and any(service.probes for service in stack.services):
        found[site.blackbox] = "blackbox"
    return found | {site.address(target): "demo" for target in composefile.played_targets(stack)}


def part_of(name: str, state: State, container: Container | None) -> Part:
    """How a part is, as Docker sees it; None stands for a container that is not there."""
    condition, detail = _condition(container) if container else ("failed", "has no container")
    return Part(name, state.url(name), condition, detail)


def _condition(container: Container) -> tuple[PartState, str]:
    match container.status, container.health:
        case "running", "healthy" | None:
            return "healthy", ""
        case "running", "starting":
            return "starting", container.said
        case "running", _:
            return "failed", f"is unhealthy: {container.said}"
        case "created", _:
            return "starting", ""
        case "paused", _:
            return "stopped", "is paused"
        case _ if container.out_of_memory:
            return "failed", "has used up the memory that docker-compose.yml grants it"
        case _:
            return "failed", f"has ended with exit code {container.exit_code}"
