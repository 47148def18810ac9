"""docker-compose.yml: every service is restricted, no name comes to mean something else, and Compose takes it."""

from __future__ import annotations

import os
import re
import shutil
import string
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reliary import composefile, demofile
from reliary.artifacts import Site
from reliary.composefile import ADMIN_PASSWORD, compose_files, exporter_image, secret_names
from reliary.dashboards import BOARDS_DIR
from reliary.demofile import DemoFileError
from reliary.model import Email, PagerDuty, Receiver, Service, Slack, Stack, Webhook
from reliary.pins import PARTS, Pin, PinsFault, pins, read_pins
from support import ROOT, aether

RELEASE = "f" * 64
SERVICES = ("alertmanager", "blackbox", "demo", "prometheus", "exporter", "grafana")
LOOPBACK = re.compile(r"127\.0\.0\.1:\$\{RELIARY_[A-Z]+_PORT:-\d+\}:\d+")


def content(stack: Stack, site: Site | None = None, release: str = RELEASE) -> dict[str, Any]:
    compose, *_ = compose_files(stack, site or Site(), release)
    assert compose.path == "docker-compose.yml"
    return dict(yaml.safe_load(compose.text))


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(content(aether())["services"])


# -- what every service has to be


@pytest.mark.parametrize("name", SERVICES)
class TestEveryService:
    def test_it_runs_as_nobody_that_matters(self, services: dict[str, dict[str, Any]], name: str) -> None:
        user = services[name]["user"]
        assert isinstance(user, str)
        assert int(user.split(":")[0]) > 0

    def test_it_can_change_nothing_but_its_data(self, services: dict[str, dict[str, Any]], name: str) -> None:
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all("noexec" in each and "size=" in each for each in service["tmpfs"])
        for volume in service.get("volumes", []):
            named = isinstance(volume, str) and volume.split(":")[0] == f"{name}-data"
            assert named or (volume["type"], volume["read_only"]) == ("bind", True)

    def test_it_mounts_folders_of_the_build_and_nothing_else(
        self, services: dict[str, dict[str, Any]], name: str
    ) -> None:
        binds = [volume for volume in services[name].get("volumes", []) if isinstance(volume, dict)]
        assert {bind["source"] for bind in binds} <= {".", "./dashboards", "./grafana/provisioning"}
        assert "docker.sock" not in str(services[name])

    def test_it_asks_for_nothing_of_the_host(self, services: dict[str, dict[str, Any]], name: str) -> None:
        forbidden = {"privileged", "network_mode", "pid", "ipc", "devices", "cap_add", "userns_mode", "container_name"}
        assert forbidden.isdisjoint(services[name])
        assert list(services[name]["networks"]) == ["stack"]

    def test_it_has_limits(self, services: dict[str, dict[str, Any]], name: str) -> None:
        service = services[name]
        assert re.fullmatch(r"[1-9]\d*m", service["mem_limit"])
        assert 0 < service["cpus"] <= 1
        assert 0 < service["pids_limit"] <= 512
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}

    def test_it_is_published_on_loopback_or_not_at_all(self, services: dict[str, dict[str, Any]], name: str) -> None:
        ports = services[name].get("ports", [])
        assert bool(ports) == (name in composefile.PORTS)
        assert all(LOOPBACK.fullmatch(port) for port in ports)

    def test_its_health_is_checked(self, services: dict[str, dict[str, Any]], name: str) -> None:
        check = services[name]["healthcheck"]
        assert check["test"][0] == "CMD"
        assert {"interval", "timeout", "retries", "start_period"} <= set(check)

    def test_it_starts_again_by_itself_and_says_what_it_is(
        self, services: dict[str, dict[str, Any]], name: str
    ) -> None:
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["labels"] == {"reliary.stack": "aether", "reliary.release": RELEASE}

    def test_its_image_is_pinned(self, services: dict[str, dict[str, Any]], name: str) -> None:
        assert re.fullmatch(r"[a-z0-9./-]+:[a-z0-9][A-Za-z0-9_.-]*", services[name]["image"])
        assert "latest" not in services[name]["image"]


def test_every_service_is_looked_at(services: dict[str, dict[str, Any]]) -> None:
    assert tuple(services) == SERVICES == composefile.parts(aether())


# -- what they are


def test_the_images_are_those_of_the_set(services: dict[str, dict[str, Any]]) -> None:
    assert services["prometheus"]["image"] == "prom/prometheus:v2.54.1"
    supported = content(replace(aether(), pins="supported"))["services"]
    assert supported["grafana"]["image"] == "grafana/grafana:12.4.11"


def test_our_own_image_is_never_looked_for_in_a_registry(services: dict[str, dict[str, Any]]) -> None:
    ours = [service for service in services.values() if service["image"] == exporter_image()]
    assert [service["pull_policy"] for service in ours] == ["never", "never"]


def test_no_service_starts_before_what_it_needs(services: dict[str, dict[str, Any]]) -> None:
    needs = {name: set(service.get("depends_on", ())) for name, service in services.items()}
    assert {name: needed for name, needed in needs.items() if needed} == {
        "prometheus": {"alertmanager"},
        "exporter": {"prometheus"},
        "grafana": {"prometheus"},
    }
    conditions = [each["condition"] for service in services.values() for each in service.get("depends_on", {}).values()]
    assert set(conditions) == {"service_healthy"}


def test_prometheus_keeps_data_as_long_as_it_is_told_and_cannot_be_told_to_stop(
    services: dict[str, dict[str, Any]],
) -> None:
    command = services["prometheus"]["command"]
    assert "--storage.tsdb.retention.time=35d" in command
    assert not any("lifecycle" in word or "admin-api" in word for word in command)


def test_prometheus_is_given_memory_for_its_tenants() -> None:
    stack = aether()
    many = replace(stack, tenants=tuple(replace(stack.tenants[0], id=f"t{number}") for number in range(10_000)))
    assert content(stack)["services"]["prometheus"]["mem_limit"] == "768m"
    assert content(many)["services"]["prometheus"]["mem_limit"] == "3072m"


def test_grafana_has_no_default_password_and_no_strangers(services: dict[str, dict[str, Any]]) -> None:
    settings = services["grafana"]["environment"]
    assert settings["GF_SECURITY_ADMIN_PASSWORD__FILE"] == f"/run/secrets/{ADMIN_PASSWORD}"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in settings
    assert settings["GF_AUTH_ANONYMOUS_ENABLED"] == settings["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert settings["GF_ANALYTICS_REPORTING_ENABLED"] == settings["GF_ANALYTICS_CHECK_FOR_UPDATES"] == "false"
    assert services["grafana"]["secrets"] == [ADMIN_PASSWORD]


def test_grafana_finds_the_boards_where_its_provider_looks() -> None:
    folders = {
        each["target"]: each["source"]
        for each in content(aether())["services"]["grafana"]["volumes"]
        if isinstance(each, dict)
    }
    assert folders == {"/etc/grafana/provisioning": "./grafana/provisioning", BOARDS_DIR: "./dashboards"}
    without = content(replace(aether(), boards=()))["services"]["grafana"]["volumes"]
    assert BOARDS_DIR not in str(without)


def test_alertmanager_sees_the_secrets_of_its_receivers_and_no_other() -> None:
    channels = (PagerDuty("key"), Slack("#ops", "hook"), Email(("a@example.com",)), Webhook("http://example.com"))
    stack = replace(aether(), receivers=(Receiver("all", channels), Receiver("twice", channels[:1])), smtp=None)
    assert secret_names(stack) == ("hook", "key")
    assert secret_names(aether()) == ("pagerduty", "slack", "smtp")
    compose = content(stack)
    assert compose["services"]["alertmanager"]["secrets"] == ["hook", "key"]
    assert compose["secrets"]["hook"] == {"file": "${RELIARY_SECRETS:-./secrets}/hook"}
    assert set(compose["secrets"]) == {"hook", "key", ADMIN_PASSWORD}


def test_what_is_not_wanted_does_not_run() -> None:
    stack = aether()
    silent = tuple(replace(service, probes=()) for service in stack.services)
    assert "blackbox" not in content(replace(stack, services=silent))["services"]
    assert "demo" not in content(replace(stack, demo=None))["services"]
    assert [file.path for file in compose_files(replace(stack, demo=None), Site(), "")] == ["docker-compose.yml"]


def test_the_demo_answers_to_the_names_of_the_service_that_it_plays() -> None:
    stack = aether()
    played = Service("aether-api", ("api-b:9000", "api-a.example.com:9000"), "/metrics", ())
    demo = content(replace(stack, services=(played,)))["services"]["demo"]
    assert demo["networks"] == {"stack": {"aliases": ["api-a.example.com", "api-b"]}}
    assert demo["ports"] == ["127.0.0.1:${RELIARY_DEMO_PORT:-8000}:9000"]
    assert demo["command"] == ["/etc/reliary/demo.json", "0.0.0.0:9000"]
    assert ":9000" not in str(content(stack)["services"]["demo"])


def test_local_processes_need_no_containers() -> None:
    assert compose_files(aether(), Site(prometheus="127.0.0.1:9090"), RELEASE) == ()


def test_the_same_stack_gives_the_same_bytes() -> None:
    first, second = compose_files(aether(), Site(), RELEASE), compose_files(aether(), Site(), RELEASE)
    assert first == second
    other = compose_files(aether(), Site(), "e" * 64)
    assert other[0].text == first[0].text.replace(RELEASE, "e" * 64)


# -- the demo's file


def test_the_demos_file_can_be_read_back() -> None:
    config = demofile.demo_config(aether())
    assert config is not None
    assert demofile.from_text(demofile.to_text(config)) == config
    assert len(config.requests_per_second) == len(aether().tenants)
    unknown = replace(aether(), tenants=(replace(aether().tenants[0], tier="nobody's"),))
    assert demofile.demo_config(unknown) == demofile.DemoConfig(7, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"seed": "1"}',
        '{"format": 2, "seed": 1, "requests_per_second": {}}',
        '{"format": 1, "seed": 1, "requests_per_second": {"a": "much"}}',
        '{"format": 1, "seed": 1, "requests_per_second": {"a": null}}',
    ],
)
def test_a_demos_file_that_says_nothing_usable_is_refused(text: str) -> None:
    with pytest.raises(DemoFileError, match="compile the definitions again"):
        demofile.from_text(text)


# -- text that wants to be more


TEXT = st.text(st.sampled_from("$${}HOME:-'\"\\#\n\t %a\U0001f98a") | st.characters(codec="utf-8"), max_size=30)


def hostile(text: str) -> Stack:
    stack = aether()
    receiver = Receiver("r", (Slack("#a", text), PagerDuty(text + "x")))
    return replace(stack, name=text, receivers=(receiver,), smtp=None)


def unfilled(text: str) -> str:
    """What Compose makes of a text in which no variable is left."""
    assert re.sub(r"\$\$", "", text).count("$") == 0, text
    return text.replace("$$", "$")


@given(TEXT)
def test_no_name_becomes_a_variable_or_leaves_its_place(text: str) -> None:
    compose = content(hostile(text), Site(prometheus_url=f"http://{text}"), release=text)
    for service in compose["services"].values():
        assert {key: unfilled(value) for key, value in service["labels"].items()} == {
            "reliary.stack": text,
            "reliary.release": text,
        }
    external = [word for word in compose["services"]["prometheus"]["command"] if "external-url" in word]
    assert [unfilled(word) for word in external] == [f"--web.external-url=http://{text}"]
    prefix = "${RELIARY_SECRETS:-./secrets}/"
    files = {name: row["file"] for name, row in compose["secrets"].items() if name != ADMIN_PASSWORD}
    assert {unfilled(file.removeprefix(prefix)) for file in files.values()} == {text, text + "x"}
    assert tuple(compose["services"]) == SERVICES


def composes() -> list[tuple[str, ...]]:
    """Every Compose on this machine: of Docker's plugins, on PATH, and the one that the end-to-end tests fetch."""
    from reliary_stack.binaries import cache_folder

    path = f"{os.environ['PATH']}:{cache_folder() / 'docker-for-tests/bin'}"
    found: list[tuple[str, ...]] = [(each,) for each in {shutil.which("docker-compose", path=path)} if each]
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        found.append(("docker", "compose"))
    if plugin := os.environ.get("RELIARY_COMPOSE_2"):
        found.append((plugin,))
    return found


@pytest.mark.parametrize("command", composes() or [()], ids=" ".join)
class TestCompose:
    def config(self, command: tuple[str, ...], folder: Path, stack: Stack, *words: str) -> str:
        if not command:
            pytest.skip("no Compose on this machine; the end-to-end tests of Docker fetch one")
        for file in compose_files(stack, Site(), RELEASE):
            (folder / file.path).write_text(file.text)
        done = subprocess.run(
            [*command, "-p", "x", "-f", str(folder / "docker-compose.yml"), "config", *words],
            capture_output=True,
            text=True,
            env={**os.environ, "RELIARY_GRAFANA_PORT": "3999", "RELIARY_SECRETS": "/some/where", "HOME": "/tmp"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    @pytest.mark.parametrize("name", ["seed", "patched", "supported"])
    def test_it_takes_the_file(self, command: tuple[str, ...], tmp_path: Path, name: str) -> None:
        self.config(command, tmp_path, replace(aether(), pins=name), "-q")

    def test_it_fills_in_our_variables_and_no_others(self, command: tuple[str, ...], tmp_path: Path) -> None:
        shown = self.config(command, tmp_path, replace(aether(), name="a${HOME}$HOME$$b"))
        understood = yaml.safe_load(shown)
        assert understood["services"]["grafana"]["labels"]["reliary.stack"] == "a$${HOME}$$HOME$$$$b"
        assert "3999" in str(understood["services"]["grafana"]["ports"])
        assert understood["secrets"]["slack"]["file"] == "/some/where/slack"


# -- pins


def test_every_set_pins_every_part() -> None:
    sets = read_pins(ROOT / "compose" / "pins.yml")
    assert set(sets) == {"seed", "patched", "supported"}
    for rows in sets.values():
        assert tuple(rows) == PARTS
        assert not any(pin.tag == "latest" for pin in rows.values())


def test_the_seed_set_is_what_was_asked_for() -> None:
    assert [pins("seed")[part].reference for part in PARTS[:4]] == [
        "prom/prometheus:v2.54.1",
        "prom/alertmanager:v0.27.0",
        "grafana/grafana:11.2.0",
        "prom/blackbox-exporter:v0.24.0",
    ]


def test_a_digest_goes_with_its_tag() -> None:
    digest = "sha256:" + "a" * 64
    assert Pin("prom/prometheus", "v1", digest).reference == f"prom/prometheus:v1@{digest}"


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(PinsFault, match="no set of pins 'newest', only seed, patched, supported"):
        pins("newest")


ROW = "{{image: {image}, tag: {tag}, digest: {digest}}}"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"image": "Prom/Prometheus"}, "names no image"),
        ({"image": "-x"}, "names no image"),
        ({"image": "prom/prometheus --privileged"}, "names no image"),
        ({"tag": "'v1 x'"}, "names no image"),
        ({"tag": "1.5"}, "texts"),
        ({"tag": "v1, extra: 1"}, "nothing else"),
        ({"digest": "sha256:abc"}, "digest"),
        ({"digest": "123"}, "digest"),
    ],
)
def test_a_faulty_row_is_refused(tmp_path: Path, row: dict[str, str], fault: str) -> None:
    good = {"image": "prom/prometheus", "tag": "v1", "digest": ""}
    rows = [f"  {part}: {ROW.format(**good)}" for part in PARTS[1:]]
    path = tmp_path / "pins.yml"
    path.write_text("\n".join(["one:", f"  {PARTS[0]}: {ROW.format(**good)}", *rows]))
    assert read_pins(path)["one"][PARTS[0]] == Pin("prom/prometheus", "v1", None)
    path.write_text("\n".join(["one:", f"  {PARTS[0]}: {ROW.format(**{**good, **row})}", *rows]))
    with pytest.raises(PinsFault, match=fault):
        read_pins(path)


@pytest.mark.parametrize("parts", [PARTS[:-1], (*PARTS, "loki")])
def test_a_set_pins_what_the_stack_has_and_no_more(tmp_path: Path, parts: tuple[str, ...]) -> None:
    rows = [f"  {part}: {{image: x, tag: y}}" for part in parts]
    (tmp_path / "pins.yml").write_text("\n".join(["one:", *rows]))
    with pytest.raises(PinsFault, match="one must pin exactly"):
        read_pins(tmp_path / "pins.yml")


@pytest.mark.parametrize("text", ["", "- seed", "seed: [", "seed: {prometheus: {}}", "seed:"])
def test_a_faulty_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pins.yml").write_text(text)
    with pytest.raises(PinsFault):
        read_pins(tmp_path / "pins.yml")


# -- the image of the exporter


def rows_of(path: Path) -> set[str]:
    """Requirements, each with its hashes."""
    return set(re.split(r"\n(?=[^\s#])", path.read_text().strip()))


def test_the_exporters_image_installs_what_was_locked() -> None:
    installed = rows_of(ROOT / "compose" / "requirements.txt")
    assert installed <= rows_of(ROOT / "constraints.txt")
    assert all("--hash=sha256:" in row for row in installed)


def test_the_exporters_dockerfile_installs_by_hash_and_ends_as_nobody() -> None:
    lines = (ROOT / "compose" / "Dockerfile.exporter").read_text().splitlines()
    assert any("--require-hashes" in line for line in lines)
    assert [line for line in lines if line.startswith(("FROM", "USER"))] == ["FROM ${BASE}", "USER 65534:65534"]
    assert set("".join(lines)) <= set(string.printable)
