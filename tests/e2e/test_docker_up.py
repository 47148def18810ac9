"""The engine with containers on a real Docker engine: the example comes up unchanged, and leaves what it should.

Needs root and Debian's packages, see docker_engine.py; the images are stand-ins, see standins.py. The tests build on
each other in the order in which they stand here: bringing a stack up takes half a minute.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import requests

from e2e import standins
from e2e.docker_engine import require_docker, running_engine
from reliary.artifacts import File, Site
from reliary.compile import compile_stack
from reliary.composefile import ADMIN_PASSWORD
from reliary.model import Stack
from reliary.pins import pins
from reliary_stack.engines import dockerimage
from reliary_stack.engines.docker import DockerEngine, available
from reliary_stack.engines.dockercli import containers, docker, volumes
from reliary_stack.engines.engine import EngineError, Part, Running
from support import AETHER, aether

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

PROJECT = "reliary-aether"
PARTS = ("alertmanager", "blackbox", "demo", "prometheus", "exporter", "grafana")
DAY = 86400


@dataclass
class Place:
    """A folder, the engine of a stack in it, and what was reported."""

    folder: Path
    engine: DockerEngine
    reported: list[Part] = field(default_factory=list)

    def up(self, stack: Stack) -> Running:
        """As somebody who lets nobody else read new files: the users in the containers have to, all the same."""
        before = os.umask(0o077)
        try:
            return self.engine.up(stack, AETHER, self.reported.append, release="e" * 64)
        finally:
            os.umask(before)

    def file(self, name: str) -> Path:
        return self.engine.folder / name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The example's place, on a Docker engine that ends with these tests."""
    packages = require_docker()
    folder = tmp_path_factory.mktemp("docker")
    (folder / "roots").mkdir()
    standins.stage_roots(folder / "roots", packages / "bin/busybox")
    for package in dockerimage.PACKAGES:  # the sources may be edited while this runs
        shutil.copytree(dockerimage._folder(package), folder / "sources" / package)
    with pytest.MonkeyPatch.context() as patch, running_engine(packages, folder):
        patch.setattr(dockerimage, "_folder", lambda package: folder / "sources" / package)
        standins.import_images(folder / "roots", dict(pins("seed")))
        yield Place(folder, DockerEngine(folder / "state" / "aether"))


def asked(url: str) -> requests.Response:
    answer = requests.get(url, timeout=5)
    answer.raise_for_status()
    return answer


def values(prometheus: str, query: str, at: float | None = None) -> list[float]:
    answer = requests.get(f"{prometheus}/api/v1/query", {"query": query, **({"time": at} if at else {})}, timeout=5)
    return [float(row["value"][1]) for row in answer.json()["data"]["result"]]


def ids() -> dict[str, str]:
    return {each.part: each.id for each in containers(PROJECT)}


def quick(stack: Stack) -> Stack:
    """The example without what takes time to start."""
    services = tuple(replace(service, probes=()) for service in stack.services)
    return replace(
        stack, scrape_interval_seconds=1, evaluation_interval_seconds=1, services=services, retention_seconds=40 * DAY
    )


def refusing(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    """A build whose Alertmanager ends at once."""
    files = compile_stack(stack, site, release)
    return tuple(File(each.path, "route: nonsense\n") if each.path == "alertmanager.yml" else each for each in files)


# -- the example, unchanged


def test_the_example_comes_up_from_nothing(place: Place) -> None:
    assert available()
    assert place.engine.parts() == ()
    running = place.up(aether())
    assert running.change == "started"
    assert [(part.name, part.state) for part in running.parts] == [(name, "healthy") for name in PARTS]
    assert running.parts[-1].detail == f"user admin, password in {place.file('secrets')}/{ADMIN_PASSWORD}"
    states = [part.state for part in place.reported if part.name == "prometheus"]
    assert (states[0], states[-1]) == ("starting", "healthy")
    assert [(part.name, part.state) for part in place.engine.parts()] == [(name, "healthy") for name in PARTS]


def test_prometheus_has_its_rules_its_targets_and_a_past(place: Place) -> None:
    url = place.engine.state().url("prometheus")
    groups = asked(f"{url}/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 50
    assert {rule["lastError"] for rule in rules if rule.get("lastError")} == set()
    targets = asked(f"{url}/api/v1/targets?state=active").json()["data"]["activeTargets"]
    assert {target["labels"]["job"]: target["health"] for target in targets} == dict.fromkeys(
        ("prometheus", "alertmanager", "reliary-exporter", "aether-api", "aether-api-probe"), "up"
    )
    assert "aether-api:8000" in {target["labels"]["instance"] for target in targets}
    assert values(url, "probe_success") == [1.0]
    past = values(url, "count(sum_over_time(tenant_slo:total:sum5m[1d]))", at=time.time() - 20 * DAY)
    assert past == [2.0 * len(aether().tenants)]


def test_the_others_do_their_work(place: Place) -> None:
    state = place.engine.state()
    assert asked(f"{state.url('exporter')}/readyz").text == "ready\n"
    assert "tenant_" in asked(f"{state.url('exporter')}/metrics").text
    assert asked(f"{state.url('grafana')}/api/health").json() == {"database": "ok"}
    receivers = {row["name"] for row in asked(f"{state.url('alertmanager')}/api/v2/receivers").json()}
    assert receivers >= {"vip-pager", "ops-channel", "finance"}


def test_what_runs_is_as_restricted_as_the_file_says(place: Place) -> None:
    rows = json.loads(docker("inspect", *ids().values()))
    for row in rows:
        host = row["HostConfig"]
        assert row["Config"]["User"].split(":")[0] in ("65534", "472")
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0
        assert host["NanoCpus"] > 0
        assert host["PidsLimit"] > 0
        bound = [binding["HostIp"] for bindings in (host["PortBindings"] or {}).values() for binding in bindings]
        assert set(bound) <= {"127.0.0.1"}


def test_secrets_are_seen_by_those_who_need_them(place: Place) -> None:
    assert docker("exec", ids()["alertmanager"], "ls", "/run/secrets").split() == ["pagerduty", "slack", "smtp"]
    assert docker("exec", ids()["grafana"], "ls", "/run/secrets").split() == [ADMIN_PASSWORD]
    assert place.engine.folder.stat().st_mode & 0o777 == 0o700
    password = place.file(f"secrets/{ADMIN_PASSWORD}").read_text()
    assert len(password) >= 24
    assert docker("exec", ids()["grafana"], "cat", f"/run/secrets/{ADMIN_PASSWORD}") == password


def test_a_second_up_changes_nothing(place: Place) -> None:
    before = ids()
    assert place.up(aether()).change == "unchanged"
    assert ids() == before


def test_another_folder_does_not_take_the_stack_over(place: Place) -> None:
    before = ids()
    other = DockerEngine(place.folder / "elsewhere")
    with pytest.raises(EngineError, match="already runs from"):
        other.up(aether(), AETHER, print, release="")
    assert other.down(print, remove_data=True) == ()
    assert ids() == before
    assert not other.state_dir.exists()


# -- changes


def test_a_build_that_does_not_come_up_gives_way_to_the_one_before(place: Place) -> None:
    before, builds = ids(), list(place.engine.builds.iterdir())
    broken = replace(place.engine, compiler=refusing)
    with pytest.raises(EngineError) as caught:
        broken.up(aether(), AETHER, place.reported.append, release="")
    assert caught.value.part == "alertmanager"
    assert any("nonsense" in line for line in caught.value.log_lines)
    assert list(place.engine.builds.iterdir()) == builds
    assert set(ids()) == set(before)
    assert place.up(aether()).change == "unchanged"


def test_down_leaves_the_data_and_nothing_else(place: Place) -> None:
    stopped = place.engine.down(place.reported.append)
    assert {part.name for part in stopped} == set(PARTS)
    assert {part.state for part in stopped} == {"stopped"}
    assert containers(PROJECT) == ()
    assert docker("network", "ls", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}") == ""
    assert volumes(PROJECT) == {f"{PROJECT}_{name}-data" for name in ("alertmanager", "grafana", "prometheus")}
    assert [path.name for path in place.file("secrets").iterdir()] == [ADMIN_PASSWORD]
    assert place.engine.parts() == ()


def test_a_changed_stack_comes_up_with_the_data_and_the_password_it_had(place: Place) -> None:
    password, ended = place.file(f"secrets/{ADMIN_PASSWORD}").read_text(), time.time() - 30
    with socket.create_server(("127.0.0.1", 3000)):  # somebody else's
        running = place.up(quick(aether()))
    assert running.change == "started"
    urls = {part.name: part.url for part in running.parts}
    assert "blackbox" not in urls
    assert urls["grafana"] not in ("", "http://127.0.0.1:3000")
    assert values(urls["prometheus"], 'up{job="aether-api"}', at=ended) == [1.0]
    assert place.file(f"secrets/{ADMIN_PASSWORD}").read_text() == password


def test_what_is_changed_while_it_runs_is_made_anew(place: Place) -> None:
    before, ports = ids(), place.engine.state().ports
    changed = replace(quick(aether()), demo=None)
    services = tuple(replace(service, targets=("prometheus:9090",)) for service in changed.services)
    assert place.up(replace(changed, services=services)).change == "updated"
    assert set(ids()) == set(before) - {"demo"}
    assert set(ids().values()).isdisjoint(before.values())
    assert {**ports, **place.engine.state().ports} == ports
    assert len(list(place.engine.builds.iterdir())) == 1


def test_ctrl_c_leaves_what_ran_before(place: Place) -> None:
    before = ids()
    timer = threading.Timer(4, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        place.up(quick(aether()))
    timer.join()
    assert set(ids()) == set(before)
    assert {each.status for each in containers(PROJECT)} == {"running"}


def test_down_with_the_data_leaves_nothing(place: Place) -> None:
    place.engine.down(place.reported.append, remove_data=True)
    assert containers(PROJECT) == ()
    assert volumes(PROJECT) == frozenset()
    assert not place.engine.state_dir.exists()
    assert place.engine.down(place.reported.append) == ()


def test_a_first_up_that_fails_leaves_nothing(place: Place) -> None:
    broken = replace(place.engine, compiler=refusing)
    with pytest.raises(EngineError):
        broken.up(quick(aether()), AETHER, place.reported.append, release="", history=False)
    assert containers(PROJECT) == ()
    assert volumes(PROJECT) == frozenset()
    assert not place.engine.state_dir.exists()


def test_no_engine_is_told_quickly(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{place.folder}/nobody")
    begun = time.monotonic()
    assert not available()
    with pytest.raises(EngineError, match="no Docker engine answers"):
        place.up(aether())
    assert time.monotonic() - begun < 3
    assert not place.engine.state_dir.exists()


def test_a_silent_engine_counts_as_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place.folder / "silent"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        begun = time.monotonic()
        assert not available()
        assert time.monotonic() - begun < 3
