"""What Prometheus scrapes and probes, as objects of the operator.

A service of the definitions is an address. `name:port` and `name.namespace.svc:port` are taken for services of the
cluster that carry the usual label `app.kubernetes.io/name`; anything else is an address outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from reliary import names
from reliary.artifacts import File, Site
from reliary.model import Service, Stack
from reliary.names import duration
from reliary.prometheusfile import MAX_BODY
from reliary.targets.kubernetes import Object, kubernetes_name, kubernetes_object, object_file

APP = "app.kubernetes.io/name"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_INSIDE = re.compile(rf"(?!localhost:)({_LABEL})(?:\.({_LABEL})\.svc(?:\.cluster\.local)?)?:(\d+)")


def monitors(stack: Stack, site: Site, release: str) -> Iterator[File]:
    """A ServiceMonitor for each service in the cluster, a ScrapeConfig for addresses outside, a Probe for URLs."""
    exporter = Service(names.EXPORTER_JOB, (site.exporter,), "/metrics", ())
    for service in (*stack.services, exporter):
        for kind, version, suffix, spec in _objects(stack, site, service):
            name = kubernetes_name(stack.name, service.name, *suffix)
            value = kubernetes_object(stack, release, version, kind, name, spec)
            path = f"{kind.lower()}s/{'-'.join((service.name, *suffix))}"
            yield object_file(path, value, f"{service.name}, as {stack.name} sees it")


def _objects(stack: Stack, site: Site, service: Service) -> Iterator[tuple[str, str, tuple[str, ...], Object]]:
    addresses = [site.address(target) for target in service.targets]
    inside = [found.groups() for address in addresses if (found := _INSIDE.fullmatch(address))]
    outside = [address for address in addresses if not _INSIDE.fullmatch(address)]
    for number, place in enumerate(inside, 1):
        suffix = (str(number),) if len(inside) > 1 else ()
        yield "ServiceMonitor", "v1", suffix, _service_monitor(stack, service, *place)
    if outside:
        yield "ScrapeConfig", "v1alpha1", (), _scrape_config(stack, service, outside)
    if service.probes and site.blackbox:
        yield "Probe", "v1", (), _probe(stack, site.blackbox, service)


def _service_monitor(stack: Stack, service: Service, host: str, namespace: str | None, port: str) -> Object:
    endpoint: dict[str, Any] = {
        "targetPort": int(port),
        "path": service.metrics_path,
        **_pace(stack),
        # The operator names a job after its Service; the rules know the name in the definitions.
        "relabelings": [{"targetLabel": "job", "replacement": service.name}],
    }
    spec: Object = {"selector": {"matchLabels": {APP: host}}, "endpoints": [endpoint], "bodySizeLimit": MAX_BODY}
    return {**spec, "namespaceSelector": {"matchNames": [namespace]}} if namespace else spec


def _scrape_config(stack: Stack, service: Service, addresses: list[str]) -> Object:
    return {
        "staticConfigs": [{"targets": addresses, "labels": {"job": service.name}}],
        "metricsPath": service.metrics_path,
        **_pace(stack, "scrapeInterval"),
    }


def _probe(stack: Stack, blackbox: str, service: Service) -> Object:
    return {
        "jobName": f"{service.name}-probe",
        "prober": {"url": blackbox, "path": "/probe"},
        "module": "http_2xx",
        "targets": {"staticConfig": {"static": list(service.probes)}},
        **_pace(stack),
    }


def _pace(stack: Stack, interval: str = "interval") -> dict[str, str]:
    """How often and how long; a ScrapeConfig has another word for the first."""
    return {
        interval: duration(stack.scrape_interval_seconds),
        "scrapeTimeout": duration(min(10, stack.scrape_interval_seconds)),
    }
