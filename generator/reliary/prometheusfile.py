"""Prometheus's configuration, and that of the blackbox exporter."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from reliary import names
from reliary.artifacts import File, Site
from reliary.model import Latency, Service, Stack
from reliary.names import duration
from reliary.yamltext import to_yaml

MAX_BODY = "64MB"


def prometheus_file(stack: Stack, site: Site) -> File:
    """`prometheus.yml`; rule files are found beside it."""
    jobs = [_job("prometheus", [site.prometheus]), _job("alertmanager", [site.alertmanager])]
    jobs.append(_job(names.EXPORTER_JOB, [site.exporter]))
    jobs += [_service(site, service) for service in stack.services]
    if site.blackbox:
        jobs += [_probe(site, service) for service in stack.services if service.probes]
    config = {
        "global": {
            "scrape_interval": duration(stack.scrape_interval_seconds),
            "scrape_timeout": duration(min(10, stack.scrape_interval_seconds)),
            "evaluation_interval": duration(stack.evaluation_interval_seconds),
            "external_labels": {"stack": stack.name},
        },
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [site.alertmanager]}]}]},
        "scrape_configs": jobs,
    }
    return File("prometheus.yml", to_yaml(config, f"What {stack.name} scrapes and evaluates"))


def blackbox_files(stack: Stack) -> tuple[File, ...]:
    """`blackbox.yml` for stacks that probe a URL."""
    if not any(service.probes for service in stack.services):
        return ()
    http = {"preferred_ip_protocol": "ip4", "valid_status_codes": [], "follow_redirects": True}
    modules = {"http_2xx": {"prober": "http", "timeout": "5s", "http": http}}
    return (File("blackbox.yml", to_yaml({"modules": modules}, "How URLs are probed")),)


def _job(name: str, targets: list[str]) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": targets}]}


def _service(site: Site, service: Service) -> dict[str, Any]:
    job = _job(service.name, [site.address(target) for target in service.targets])
    return {**job, "metrics_path": service.metrics_path, "body_size_limit": MAX_BODY}


def _probe(site: Site, service: Service) -> dict[str, Any]:
    """The usual detour: the exporter is scraped, the URL travels as a parameter and becomes the instance."""
    return {
        **_job(f"{service.name}-probe", [_probed(site, url) for url in service.probes]),
        "metrics_path": "/probe",
        "params": {"module": ["http_2xx"]},
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": site.blackbox},
        ],
    }


def _probed(site: Site, url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=site.address(parts.netloc)))


def features(stack: Stack) -> tuple[str, ...]:
    """Options of the Prometheus server that the definitions need: native histograms have to be asked for."""
    native = any(isinstance(slo.source, Latency) and slo.source.native for slo in stack.slos)
    return ("--enable-feature=native-histograms",) if native else ()
