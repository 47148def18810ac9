"""The engine with containers without one: what it stages, keeps to itself, remembers, and makes of Docker's words."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import sysconfig
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import requests

from reliary.composefile import ADMIN_PASSWORD, PORTS
from reliary.demofile import demo_config, to_text
from reliary.model import Service
from reliary_stack.engines import dockerimage
from reliary_stack.engines.docker import DockerEngine, available
from reliary_stack.engines.dockercli import CommandFailed, Compose, Container, containers, docker
from reliary_stack.engines.dockerimage import ensure_exporter_image, stage
from reliary_stack.engines.dockerparts import compose_site, part_of, scraped
from reliary_stack.engines.dockersecrets import copy_secrets, remove_copies
from reliary_stack.engines.dockerstate import State, private_folder, read_state, write_state
from reliary_stack.engines.engine import EngineError
from reliary_stack.engines.exclusive import exclusive
from support import aether, until

# -- secrets


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "slack").write_text("https://hooks.example.com/x")
    (folder / "other").write_text("nobody asked for this")
    return folder


def test_secrets_are_copied_and_those_that_are_missing_are_empty(tmp_path: Path, definitions: Path) -> None:
    folder = tmp_path / "copies"
    password = copy_secrets(["slack", "smtp"], definitions, folder)
    assert {path.name for path in folder.iterdir()} == {"slack", "smtp", ADMIN_PASSWORD}
    assert (folder / "slack").read_text() == "https://hooks.example.com/x"
    assert (folder / "smtp").read_bytes() == b""
    assert password == folder / ADMIN_PASSWORD
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o444] * 3
    assert {path.name for path in definitions.iterdir()} == {"slack", "other"}


def test_a_containers_mount_sees_a_changed_secret(tmp_path: Path, definitions: Path) -> None:
    folder = tmp_path / "copies"
    copy_secrets(["slack"], definitions, folder)
    with (folder / "slack").open() as mounted:
        (definitions / "slack").write_text("new")
        copy_secrets(["slack"], definitions, folder)
        assert mounted.read() == "new"


def test_a_secret_that_is_no_longer_named_goes(tmp_path: Path, definitions: Path) -> None:
    folder = tmp_path / "copies"
    copy_secrets(["slack"], definitions, folder)
    copy_secrets([], definitions, folder)
    assert [path.name for path in folder.iterdir()] == [ADMIN_PASSWORD]


def test_the_password_is_strong_and_stays(tmp_path: Path, definitions: Path) -> None:
    first = copy_secrets([], definitions, tmp_path / "copies").read_text()
    assert len(first) >= 32
    assert copy_secrets([], definitions, tmp_path / "copies").read_text() == first
    remove_copies(tmp_path / "copies")
    assert copy_secrets([], definitions, tmp_path / "copies").read_text() == first
    assert copy_secrets([], definitions, tmp_path / "others").read_text() != first


def test_the_password_may_be_given(tmp_path: Path, definitions: Path) -> None:
    copy_secrets([], definitions, tmp_path / "copies")
    (definitions / ADMIN_PASSWORD).write_text("chosen")
    assert copy_secrets([], definitions, tmp_path / "copies").read_text() == "chosen"


# -- what is remembered


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = State("reliary-aether", "abc", ("prometheus", "blackbox"), {"prometheus": 9091})
    write_state(state, tmp_path / "state.json")
    assert read_state(tmp_path / "state.json", "other") == state
    assert (state.url("prometheus"), state.url("blackbox")) == ("http://127.0.0.1:9091", "")


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"project": "x", "build": null, "parts": 1, "ports": {}}'])
def test_a_state_that_cannot_be_read_is_that_of_a_stack_that_is_down(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "state.json").write_text(text)
    assert read_state(tmp_path / "state.json", "reliary-x") == State("reliary-x")


def test_the_folder_is_private_and_goes_when_it_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir(mode=0o755)
    with private_folder(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert (folder / ".gitignore").read_text() == "*\n"
        (folder / "state.json").touch()
    assert (folder / "state.json").exists()
    (folder / "state.json").unlink()
    with private_folder(folder):
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_one_run_works_on_a_stack(tmp_path: Path) -> None:
    state = tmp_path / ".reliary/aether"
    with exclusive(state, "up"), pytest.raises(EngineError, match="is at work"):
        DockerEngine(state).up(aether(), tmp_path, print, release="")
    assert not state.exists()


# -- sites and parts


def test_the_demo_gets_a_name_of_its_own_where_it_cannot_have_the_declared_one() -> None:
    targets = ("api:8000", "10.1.2.3:8000", "localhost:8000", "api:8001")
    stack = replace(aether(), services=(Service("aether-api", targets, "/metrics", ()),))
    site = compose_site(stack, PORTS)
    assert [site.address(target) for target in targets] == ["api:8000", "demo:8000", "demo:8000", "demo:8000"]
    assert scraped(stack, site) == {
        "prometheus:9090": "prometheus",
        "alertmanager:9093": "alertmanager",
        "exporter:9808": "exporter",
        "api:8000": "demo",
        "demo:8000": "demo",
    }
    assert compose_site(replace(stack, demo=None), PORTS).targets == ()


def test_links_lead_to_where_people_reach_a_part() -> None:
    site = compose_site(aether(), {**PORTS, "grafana": 3001})
    assert (site.grafana_url, site.prometheus_url) == ("http://localhost:3001", "http://localhost:9090")


CONTAINER = Container("id", "prometheus", Path("/x"), "running", 0, "healthy", "", 0, False)


@pytest.mark.parametrize(
    ("changes", "state", "detail"),
    [
        ({}, "healthy", ""),
        ({"health": None}, "healthy", ""),
        ({"health": "starting", "said": "refused"}, "starting", "refused"),
        ({"health": "unhealthy", "said": "refused"}, "failed", "is unhealthy: refused"),
        ({"status": "created"}, "starting", ""),
        ({"status": "paused"}, "stopped", "is paused"),
        ({"status": "exited", "exit_code": 2}, "failed", "exit code 2"),
        ({"status": "restarting", "exit_code": 1}, "failed", "exit code 1"),
        ({"status": "exited", "exit_code": 137, "out_of_memory": True}, "failed", "memory"),
    ],
)
def test_dockers_words_become_ours(changes: dict[str, object], state: str, detail: str) -> None:
    part = part_of("prometheus", State("x", "b", (), {"prometheus": 9090}), replace(CONTAINER, **changes))
    assert (part.state, part.url) == (state, "http://127.0.0.1:9090")
    assert detail in part.detail
    assert bool(detail) == bool(part.detail)


def test_a_container_that_is_gone_has_failed() -> None:
    assert part_of("demo", State("x"), None).state == "failed"


# -- the commands, played by a script


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that does what the test writes into it, alone on PATH."""
    path = tmp_path / "bin/docker"
    path.parent.mkdir()
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    return path


def play(script: Path, text: str) -> None:
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


INSPECTED = {
    "Id": "a" * 64,
    "RestartCount": 3,
    "Config": {
        "Labels": {
            "com.docker.compose.service": "prometheus",
            "com.docker.compose.project.working_dir": "/state/docker/builds/abc",
        }
    },
    "State": {
        "Status": "running",
        "ExitCode": 0,
        "OOMKilled": False,
        "Health": {"Status": "unhealthy", "Log": [{"Output": "old"}, {"Output": "wget:\n  refused\n"}]},
    },
}


def test_containers_are_read_from_what_docker_inspects(script: Path, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text(json.dumps([INSPECTED]))
    play(script, 'case $1 in ps) echo "$@" > $FOLDER/asked; echo aaa;; inspect) cat $FOLDER/rows;; esac')
    assert containers("reliary-x") == (
        Container(
            "a" * 64,
            "prometheus",
            Path("/state/docker/builds/abc"),
            "running",
            0,
            "unhealthy",
            "wget: refused",
            3,
            False,
        ),
    )
    assert "label=com.docker.compose.project=reliary-x" in (tmp_path / "asked").read_text()


def test_a_container_without_a_health_check_and_labels_of_later_is_read(script: Path, tmp_path: Path) -> None:
    row = {**INSPECTED, "State": {"Status": "exited", "ExitCode": 2}}
    row["Config"] = {"Labels": {"com.docker.compose.service": "x"}}
    (tmp_path / "rows").write_text(json.dumps([row]))
    play(script, "case $1 in ps) echo aaa;; inspect) cat $FOLDER/rows;; esac")
    [found] = containers("reliary-x")
    assert (found.status, found.health, found.exit_code, found.folder) == ("exited", None, 2, Path("/"))


def test_a_container_that_goes_while_it_is_asked_after_is_no_failure(script: Path) -> None:
    play(script, "case $1 in ps) [ -e $FOLDER/twice ] || echo aaa;; *) touch $FOLDER/twice; exit 1;; esac")
    assert containers("reliary-x") == ()


def test_a_command_that_fails_tells_its_last_lines_without_colours(script: Path) -> None:
    play(script, 'echo out; printf "\\033[31mred\\033[0m\\n\\n" >&2; exit 3')
    with pytest.raises(CommandFailed, match=r"`docker build` failed: red$") as caught:
        docker("build", "--secret")
    assert caught.value.lines == ("out", "red")


def test_a_command_that_hangs_is_ended_with_what_it_started(script: Path, tmp_path: Path) -> None:
    play(script, "sleep 60 & echo $! > $FOLDER/child; wait")
    begun = time.monotonic()
    with pytest.raises(CommandFailed, match="longer than"):
        docker("version", seconds=0.5)
    assert time.monotonic() - begun < 5
    child = int((tmp_path / "child").read_text())
    until("the child is gone", lambda: not Path(f"/proc/{child}/cmdline").is_file() or not runs(child), 5)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_happens_meanwhile_can_end_a_command(script: Path, tmp_path: Path) -> None:
    play(script, 'echo "$@" > $FOLDER/asked; echo $RELIARY_SECRETS >> $FOLDER/asked; sleep 60')
    compose = Compose(("docker", "compose"), "reliary-x", Path("/builds/abc"), {"RELIARY_SECRETS": "/secrets"})

    def meanwhile() -> None:
        time.sleep(0.2)
        if (tmp_path / "asked").exists() and "secrets" in (tmp_path / "asked").read_text():
            raise EngineError("prometheus", "has failed", "")

    begun = time.monotonic()
    with pytest.raises(EngineError):
        compose.run("up", "-d", meanwhile=meanwhile)
    assert time.monotonic() - begun < 5
    command = "compose -p reliary-x -f /builds/abc/docker-compose.yml up -d"
    assert (tmp_path / "asked").read_text().splitlines() == [command, "/secrets"]


def test_without_docker_there_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not available()
    engine = DockerEngine(tmp_path / ".reliary/aether")
    with pytest.raises(EngineError, match="no Docker engine answers") as caught:
        engine.up(aether(), tmp_path, print, release="")
    assert "--engine local" in caught.value.next_step
    with pytest.raises(EngineError):
        engine.parts()
    assert list(tmp_path.iterdir()) == []


def test_an_engine_without_compose_is_none_to_us(script: Path, tmp_path: Path) -> None:
    play(script, '[ "$1" = version ]')
    if Compose.command_here() is not None:
        pytest.skip("there is a docker-compose in /usr/bin")
    assert not available()
    with pytest.raises(EngineError, match="Compose is not installed"):
        DockerEngine(tmp_path / "state").up(aether(), tmp_path, print, release="")


def test_the_plugin_is_preferred(script: Path) -> None:
    other = script.with_name("docker-compose")
    play(other, "exit 0")
    play(script, "exit 0")
    assert Compose.command_here() == ("docker", "compose")
    play(script, '[ "$1" = version ]')
    assert Compose.command_here() == ("docker-compose",)
    assert available()


# -- the image


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    before = os.umask(0o077)
    stage(folder)
    os.umask(before)
    return folder


def test_the_context_has_the_code_and_nothing_else(context: Path) -> None:
    assert {path.name for path in context.iterdir()} == {"Dockerfile", "requirements.txt", "src"}
    assert (context / "src/reliary_exporter/app.py").is_file()
    assert {path.suffix for path in context.rglob("*") if path.is_file()} == {"", ".txt", ".py"}
    assert not list(context.rglob("_assets"))
    [metadata] = context.glob("src/*.dist-info/METADATA")
    assert f"Version: {version('reliary')}" in metadata.read_text().splitlines()
    others = [path for path in context.rglob("*") if not stat.S_IMODE(path.stat().st_mode) & 0o004]
    assert others == []


def test_what_the_container_runs_imports_nothing_that_is_not_installed_in_it(context: Path) -> None:
    program = (
        "import reliary_stack.cli, reliary_stack.demo.serve, reliary_exporter.app, sys, importlib.metadata as m\n"
        "found = m.packages_distributions()\n"
        "tops = {name.split('.')[0] for name in sys.modules}\n"
        "print(*sorted({d.lower().replace('_', '-') for top in tops for d in found.get(top, ())}))\n"
    )
    libraries = f"{context / 'src'}:{sysconfig.get_path('purelib')}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env={"PYTHONPATH": libraries}, capture_output=True, text=True, check=True
    )
    pinned = (context / "requirements.txt").read_text()
    imported = set(done.stdout.split()) - {"reliary"}
    assert imported
    assert {name for name in imported if f"{name}==" not in pinned} == set()


def test_the_demo_is_served_from_its_file(context: Path, tmp_path: Path) -> None:
    config = demo_config(aether())
    assert config is not None
    (tmp_path / "demo.json").write_text(to_text(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "reliary_stack.demo.serve", str(tmp_path / "demo.json"), address]
    with subprocess.Popen(command) as process:
        try:
            until("the demo answers", lambda: answers(f"http://{address}/health"), 20)
            assert 'tenant_id="vip-customer-123"' in requests.get(f"http://{address}/metrics", timeout=5).text
        finally:
            process.terminate()
        assert process.wait(10) == 0


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.ConnectionError:
        return False


def test_the_image_is_built_once_for_the_same_code(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This `docker` keeps the label of what it built, as an engine does."""
    play(
        script,
        """case $1 in
        build) while [ $# -gt 0 ]; do case $1 in reliary.context=*) echo "${1#*=}" > $FOLDER/label;; esac; shift; done
            echo built >> $FOLDER/builds;;
        image) cat $FOLDER/label 2> /dev/null;;
        esac""",
    )
    said: list[str] = []
    first = ensure_exporter_image("python:1", said.append)
    assert ensure_exporter_image("python:1", said.append) == first
    assert (len(said), (tmp_path / "builds").read_text()) == (1, "built\n")
    assert ensure_exporter_image("python:2", said.append) != first
    monkeypatch.setattr(dockerimage, "PACKAGES", ("reliary", "reliary_exporter"))
    assert ensure_exporter_image("python:1", said.append) != first
    assert len(said) == 3
