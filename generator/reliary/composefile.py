"""`docker-compose.yml`: the stack as hardened containers, in what both Compose 1.29 and 2 accept.

Every text is escaped when the file is written, because `$` starts a variable in it; only `_Variable` is not. The build
is mounted as a folder: a mounted file would keep its old content when a new release takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from reliary import __version__, demofile
from reliary.artifacts import File, Site
from reliary.dashboards import BOARDS_DIR
from reliary.model import Channel, PagerDuty, Slack, Stack
from reliary.names import duration
from reliary.pins import Pin, pins
from reliary.prometheusfile import features
from reliary.yamltext import to_yaml

PATH = "docker-compose.yml"
PORTS: Mapping[str, int] = {"demo": 8000, "alertmanager": 9093, "prometheus": 9090, "exporter": 9808, "grafana": 3000}
"""Where people reach a part on this machine, unless RELIARY_<PART>_PORT says otherwise."""

ADMIN_PASSWORD = "grafana-admin-password"
"""The secret with the password of Grafana's user `admin`."""

SECRETS_VARIABLE = "RELIARY_SECRETS"
RELEASE_LABEL = "reliary.release"
BLACKBOX_PORT = 9115

_BUILD = "/etc/reliary"
_NOBODY = "65534:65534"
_NETWORK = "stack"
_COMPOSE = Site()


class _Variable(str):
    """Text with a ${VARIABLE} that Compose fills in."""

    __slots__ = ()


def compose_files(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    """`docker-compose.yml`, and `demo.json` for the demo's container; nothing for a site without containers."""
    if site.prometheus != _COMPOSE.prometheus:
        return ()
    everywhere = {**_hardened(), "labels": {"reliary.stack": stack.name, RELEASE_LABEL: release}}
    content = {
        "services": {name: {**service, **everywhere} for name, service in _services(stack, site).items()},
        "networks": {_NETWORK: {"driver": "bridge"}},
        "volumes": {name: {} for name in ("alertmanager-data", "grafana-data", "prometheus-data")},
        "secrets": {name: {"file": _secret(name)} for name in (*secret_names(stack), ADMIN_PASSWORD)},
    }
    text = to_yaml(_written(content), f"The containers of {stack.name}; `reliary up` starts them")
    return (File(PATH, text), *demofile.demo_files(stack))


def exporter_image() -> str:
    """The name of the image with the exporter and the demo. It is built where it runs and in no registry."""
    return f"reliary/exporter:{__version__.replace('+', '-')}"


def parts(stack: Stack) -> tuple[str, ...]:
    """The names of a stack's services, in the order in which they start."""
    return tuple(_services(stack, _COMPOSE))


def secret_names(stack: Stack) -> tuple[str, ...]:
    """The files that Alertmanager reads in /run/secrets, each once, sorted."""
    named = {name for receiver in stack.receivers for channel in receiver.channels for name in _secrets(channel)}
    if stack.smtp and stack.smtp.password_file:
        named.add(stack.smtp.password_file)
    return tuple(sorted(named))


def port_variable(part: str) -> str:
    """The environment variable that overrides a port of `PORTS`."""
    return f"RELIARY_{part.upper()}_PORT"


def played_targets(stack: Stack) -> tuple[str, ...]:
    """The addresses (host:port) of the service that the demo stands in for; none without a demo."""
    played = [service for service in stack.services if stack.demo and service.name == stack.demo.service]
    return tuple(target for service in played for target in service.targets)


# -- services, in the order in which they start


def _services(stack: Stack, site: Site) -> dict[str, dict[str, Any]]:
    images = pins(stack.pins)
    services = {"alertmanager": _alertmanager(stack, site, images["alertmanager"])}
    if any(service.probes for service in stack.services):
        services["blackbox"] = _blackbox(images["blackbox"])
    if stack.demo:
        services["demo"] = _demo(stack, site)
    services["prometheus"] = _prometheus(stack, site, images["prometheus"])
    services["exporter"] = _exporter(stack)
    services["grafana"] = _grafana(stack, site, images["grafana"])
    return services


def _alertmanager(stack: Stack, site: Site, pin: Pin) -> dict[str, Any]:
    return {
        "image": pin.reference,
        "user": _NOBODY,
        "command": [
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            "--cluster.listen-address=",
            f"--web.external-url={site.alertmanager_url}",
            # Silences are lost when it is killed: by default it saves them only every 15 minutes.
            "--data.maintenance-interval=1m",
        ],
        "volumes": [_folder(".", "/etc/alertmanager"), "alertmanager-data:/alertmanager"],
        "secrets": list(secret_names(stack)),
        "ports": [_published("alertmanager", PORTS["alertmanager"])],
        "healthcheck": _check(_wget(PORTS["alertmanager"], "/-/ready"), start_seconds=60),
        "networks": {_NETWORK: {}},
        "stop_grace_period": "30s",
        **_limits(memory_mb=128, cpus=0.25, pids=128),
    }


def _blackbox(pin: Pin) -> dict[str, Any]:
    return {
        "image": pin.reference,
        "user": _NOBODY,
        "command": ["--config.file=/etc/blackbox_exporter/blackbox.yml"],
        "volumes": [_folder(".", "/etc/blackbox_exporter")],
        "healthcheck": _check(_wget(BLACKBOX_PORT, "/-/healthy"), start_seconds=30),
        "networks": {_NETWORK: {}},
        **_limits(memory_mb=64, cpus=0.25, pids=128),
    }


def _demo(stack: Stack, site: Site) -> dict[str, Any]:
    """It answers to the names of the service that it plays, so Prometheus finds it where it was told to look."""
    hosts, ports = zip(*(site.address(target).rsplit(":", 1) for target in played_targets(stack)), strict=True)
    port = int(ports[0])
    return {
        "image": exporter_image(),
        "pull_policy": "never",
        "user": _NOBODY,
        "entrypoint": ["python", "-m", "reliary_stack.demo.serve"],
        "command": [f"{_BUILD}/{demofile.PATH}", f"0.0.0.0:{port}"],
        "volumes": [_folder(".", _BUILD)],
        "networks": {_NETWORK: {"aliases": sorted(set(hosts))}},
        "ports": [_published("demo", port)],
        "healthcheck": _check(_python_get(port, "/health"), start_seconds=60),
        **_limits(memory_mb=256, cpus=0.5, pids=128),
    }


def _prometheus(stack: Stack, site: Site, pin: Pin) -> dict[str, Any]:
    return {
        "image": pin.reference,
        "user": _NOBODY,
        "command": [
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            f"--storage.tsdb.retention.time={duration(stack.retention_seconds)}",
            f"--web.external-url={site.prometheus_url}",
            *features(stack),
        ],
        "volumes": [_folder(".", "/etc/prometheus"), "prometheus-data:/prometheus"],
        "ports": [_published("prometheus", PORTS["prometheus"])],
        # Reading a large write-ahead log again takes minutes. The first success ends this time.
        "healthcheck": _check(_wget(PORTS["prometheus"], "/-/ready"), start_seconds=600),
        "depends_on": _once_healthy("alertmanager"),
        "networks": {_NETWORK: {}},
        "stop_grace_period": "1m",
        # Measured: up to 160 MB for a thousand tenants with three SLO classes, above 145 MB when idle.
        **_limits(memory_mb=512 + 256 * _thousands(stack), cpus=1.0, pids=256),
    }


def _exporter(stack: Stack) -> dict[str, Any]:
    return {
        "image": exporter_image(),
        "pull_policy": "never",
        "user": _NOBODY,
        "command": ["exporter", "--config", f"{_BUILD}/exporter.json", "--listen", f"0.0.0.0:{PORTS['exporter']}"],
        "volumes": [_folder(".", _BUILD)],
        "ports": [_published("exporter", PORTS["exporter"])],
        # Whether it lives, not whether its values are fresh: restarting it would not help a Prometheus that is away.
        "healthcheck": _check(_python_get(PORTS["exporter"], "/healthz"), start_seconds=60),
        "depends_on": _once_healthy("prometheus"),
        "networks": {_NETWORK: {}},
        **_limits(memory_mb=192 + 64 * _thousands(stack), cpus=0.5, pids=128),
    }


def _grafana(stack: Stack, site: Site, pin: Pin) -> dict[str, Any]:
    boards = [_folder("./dashboards", BOARDS_DIR)] if stack.boards else []
    return {
        "image": pin.reference,
        "user": "472:0",  # the image's own user and group
        "environment": _grafana_settings(site),
        "volumes": [
            _folder("./grafana/provisioning", "/etc/grafana/provisioning"),
            *boards,
            "grafana-data:/var/lib/grafana",
        ],
        "secrets": [ADMIN_PASSWORD],
        "ports": [_published("grafana", PORTS["grafana"])],
        "healthcheck": _check(_wget(PORTS["grafana"], "/api/health"), start_seconds=120),
        "depends_on": _once_healthy("prometheus"),
        "networks": {_NETWORK: {}},
        "stop_grace_period": "30s",
        **_limits(memory_mb=512, cpus=1.0, pids=256),
    }


def _grafana_settings(site: Site) -> dict[str, str]:
    """No default password, no anonymous visitors, and no calls to its makers."""
    return {
        "GF_SERVER_ROOT_URL": site.grafana_url,
        "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{site.secrets_dir}/{ADMIN_PASSWORD}",
        "GF_SECURITY_DISABLE_GRAVATAR": "true",
        "GF_AUTH_ANONYMOUS_ENABLED": "false",
        "GF_USERS_ALLOW_SIGN_UP": "false",
        "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_ANALYTICS_FEEDBACK_LINKS_ENABLED": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        # Since Grafana 12, it would fetch plugins at every start.
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
    }


# -- what services are made of


def _hardened() -> dict[str, Any]:
    return {
        "restart": "unless-stopped",
        "read_only": True,
        "tmpfs": ["/tmp:rw,noexec,nosuid,nodev,size=64m"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
    }


def _limits(*, memory_mb: int, cpus: float, pids: int) -> dict[str, Any]:
    return {"mem_limit": f"{memory_mb}m", "cpus": cpus, "pids_limit": pids}


def _thousands(stack: Stack) -> int:
    return math.ceil(len(stack.tenants) / 1000)


def _folder(source: str, target: str) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": target, "read_only": True}


def _published(part: str, port: int) -> _Variable:
    return _Variable(f"127.0.0.1:${{{port_variable(part)}:-{PORTS[part]}}}:{port}")


def _once_healthy(part: str) -> dict[str, Any]:
    return {part: {"condition": "service_healthy"}}


def _check(test: list[str], *, start_seconds: int) -> dict[str, Any]:
    timing = {"interval": "5s", "timeout": "3s", "retries": 6, "start_period": f"{start_seconds}s"}
    return {"test": ["CMD", *test], **timing}


def _wget(port: int, path: str) -> list[str]:
    # -Y off: Docker may pass a proxy on to all containers, and busybox's wget knows no exceptions from it.
    return ["wget", "-q", "-Y", "off", "-O", "/dev/null", f"http://127.0.0.1:{port}{path}"]


def _python_get(port: int, path: str) -> list[str]:
    """The image has no wget, and an HTTP client in Python takes a second of CPU to import."""
    program = (
        f"import socket; peer = socket.create_connection(('127.0.0.1', {port}), 2); "
        f"peer.sendall(b'GET {path} HTTP/1.0\\r\\n\\r\\n'); raise SystemExit(b' 200 ' not in peer.recv(64))"
    )
    return ["python", "-IS", "-c", program]


def _secret(name: str) -> _Variable:
    return _Variable(f"${{{SECRETS_VARIABLE}:-./secrets}}/{_escaped(name)}")


def _secrets(channel: Channel) -> Iterator[str]:
    match channel:
        case PagerDuty(name) | Slack(url_file=name):
            yield name


# -- text


def _written(value: Any) -> Any:
    """The value as Compose has to read it: `$` doubled, except in a `_Variable`."""
    match value:
        case _Variable():
            return str(value)
        case str():
            return _escaped(value)
        case dict():
            return {key: _written(each) for key, each in value.items()}
        case list():
            return [_written(each) for each in value]
        case _:
            return value


def _escaped(text: str) -> str:
    return text.replace("$", "$$")
