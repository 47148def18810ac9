"""Which servers a stack has, where they listen on one machine, and how each is started. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reliary.artifacts import Site
from reliary.model import Stack
from reliary.names import duration
from reliary.prometheusfile import features
from reliary_stack.binaries import ToolName
from reliary_stack.engines.processes import Launch

__all__ = ["HOST", "PORTS", "RELOADING", "SERVERS", "Folders", "launch_of", "site", "wanted"]

HOST = "127.0.0.1"
# In the order of starting. The exporter comes last: its first refresh needs a Prometheus that answers.
PORTS: Mapping[str, int] = {"demo": 8000, "alertmanager": 9093, "blackbox": 9115, "prometheus": 9090, "exporter": 9808}
SERVERS: Mapping[str, ToolName] = {
    "alertmanager": "alertmanager",
    "blackbox": "blackbox_exporter",
    "prometheus": "prometheus",
}
RELOADING = ("alertmanager", "blackbox", "prometheus")


@dataclass(frozen=True, slots=True)
class Folders:
    """Absolute paths: the definitions, their build, and where the servers keep their data."""

    definitions: Path
    build: Path
    data: Path


def wanted(stack: Stack) -> list[str]:
    """The names of the stack's parts, in the order of starting."""
    unwanted = set()
    if stack.demo is None:
        unwanted.add("demo")
    if not any(service.probes for service in stack.services):
        unwanted.add("blackbox")
    return [name for name in PORTS if name not in unwanted]


def site(stack: Stack, ports: Mapping[str, int], definitions: Path) -> Site:
    """Everything on loopback; the demo stands in for the service that it plays."""
    at = {name: f"{HOST}:{port}" for name, port in ports.items()}
    played = [service for service in stack.services if stack.demo and service.name == stack.demo.service]
    return Site(
        prometheus=at["prometheus"],
        alertmanager=at["alertmanager"],
        exporter=at["exporter"],
        blackbox=at.get("blackbox"),
        secrets_dir=str(definitions / "secrets"),
        prometheus_url=f"http://{at['prometheus']}",
        alertmanager_url=f"http://{at['alertmanager']}",
        targets=tuple((target, at["demo"]) for service in played for target in service.targets),
    )


def launch_of(
    stack: Stack, name: str, port: int, program: tuple[str, ...], cwd: Path | None, folders: Folders
) -> Launch:
    """How the part is started: `program` is its executable, or the command that stands for it; `cwd` None: any."""
    arguments = _arguments(stack, name, f"{HOST}:{port}", folders)
    # The demo reads the definitions once. The others look again, by themselves or when they are told to.
    reads = hashlib.sha256(repr((stack.demo, stack.tenants)).encode()).hexdigest() if name == "demo" else ""
    return Launch(name, port, (*program, *arguments), str(cwd or folders.data), reads)


def _arguments(stack: Stack, name: str, address: str, folders: Folders) -> tuple[str, ...]:
    server = (f"--config.file={folders.build / name}.yml", f"--web.listen-address={address}")
    reached = f"--web.external-url=http://{address}"
    match name:
        case "demo":
            return ("demo", "serve", str(folders.definitions), "--listen", address)
        case "exporter":
            return ("exporter", "--config", str(folders.build / "exporter.json"), "--listen", address)
        case "alertmanager":
            storage = f"--storage.path={folders.data / name}"
            return (*server, reached, storage, "--cluster.listen-address=")
        case "prometheus":
            storage = f"--storage.tsdb.path={folders.data / name}"
            retention = f"--storage.tsdb.retention.time={duration(stack.retention_seconds)}"
            return (*server, reached, storage, retention, "--web.enable-lifecycle", *features(stack))
        case _:
            return server
