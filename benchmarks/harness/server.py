"""A Prometheus of our own on loopback: started empty, asked over HTTP, measured through /proc, stopped by its id."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from reliary_stack.binaries import find_tool

START_SECONDS = 120
STOP_SECONDS = 120
ANSWER_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Server:
    """A running Prometheus. `url` is its address, `folder` has its configuration and data."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str, **parameters: object) -> Any:
        """The `data` of an API answer."""
        answer = requests.post(f"{self.url}/api/v1/{path}", data=parameters, timeout=ANSWER_SECONDS)
        body = answer.json()
        if body.get("status") != "success":
            raise RuntimeError(f"{path} {parameters}: {body}")
        return body["data"]

    def rules(self) -> list[dict[str, Any]]:
        """The rule groups as /api/v1/rules has them."""
        answer = requests.get(f"{self.url}/api/v1/rules", timeout=ANSWER_SECONDS)
        return list(answer.json()["data"]["groups"])

    def configure(self, rule_files: Sequence[tuple[str, str]], scrape: str = "") -> float:
        """Replaces the rules (name, text), reloads, and gives the seconds that the reload took."""
        for old in self.folder.glob("rules-*.yml"):
            old.unlink()
        for name, text in rule_files:
            (self.folder / f"rules-{name}.yml").write_text(text, encoding="utf-8")
        _configuration(self.folder, scrape)
        started = time.monotonic()
        answer = requests.post(f"{self.url}/-/reload", timeout=ANSWER_SECONDS)
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
        return time.monotonic() - started

    def cpu_seconds(self) -> float:
        """User and system time of the process until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else 0.0

    def own_metric(self, name: str) -> float:
        """The sum of one of the server's own metrics over all its labels."""
        text = requests.get(f"{self.url}/metrics", timeout=ANSWER_SECONDS).text
        lines = (line for line in text.splitlines() if re.match(rf"{name}(\{{| )", line))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@contextmanager
def prometheus(*options: str) -> Iterator[Server]:
    """An empty server that takes remote writes; it and its data are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="reliary-bench-") as scratch:
        folder = Path(scratch)
        _configuration(folder, "")
        port = _free_port()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(_command(folder, port, options), stdout=log, stderr=subprocess.STDOUT)
        server = Server(f"http://127.0.0.1:{port}", folder, process)
        try:
            _wait_until_ready(server)
            yield server
        finally:
            _stop(process)


def _command(folder: Path, port: int, options: Sequence[str]) -> list[str]:
    return [
        str(find_tool("prometheus").path),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=100y",
        "--web.enable-remote-write-receiver",
        "--web.enable-lifecycle",
        "--query.max-samples=2000000000",
        "--log.level=warn",
        *options,
    ]


def _configuration(folder: Path, scrape: str) -> None:
    rules = f"rule_files: ['{folder}/rules-*.yml']\n"
    (folder / "prometheus.yml").write_text(f"global: {{evaluation_interval: 30s}}\n{rules}{scrape}", encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if requests.get(f"{server.url}/-/ready", timeout=2).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    log = (server.folder / "log").read_text(errors="replace").splitlines()
    raise RuntimeError("Prometheus did not start:\n" + "\n".join(log[-15:]))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def seconds_of(duration: str) -> int:
    """`90m` -> 5400, for durations of one unit."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]
