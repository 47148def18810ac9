"""The local engine on real servers: it comes up, follows changes, and leaves nothing behind that is not wanted.

The stack is the example with shorter intervals. Needs Prometheus, Alertmanager and the blackbox exporter on PATH, in
the cache or from a Debian mirror; without them the tests are skipped, on a CI machine (CI is set) they fail.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.request import urlopen

import pytest

from reliary.artifacts import File, Site
from reliary.compile import compile_stack
from reliary.definitions.spec import read_definitions
from reliary.model import Stack
from reliary_exporter.prometheus import PrometheusClient
from reliary_stack.binaries import TOOLS, ToolMissing, find_tool
from reliary_stack.demo import traffic
from reliary_stack.engines.engine import EngineError, Part, Running
from reliary_stack.engines.local import LocalEngine
from reliary_stack.engines.parts import PORTS
from reliary_stack.engines.processes import is_alive
from reliary_stack.status import read_status

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[2] / "examples/aether"
SILENT = 'import time; print("busy with nothing", flush=True); time.sleep(600)'


@pytest.fixture(scope="session", autouse=True)
def _servers() -> None:
    try:
        for name in TOOLS:
            find_tool(name)
    except ToolMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def eventually(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def free_ports() -> dict[str, int]:
    with _sockets(len(PORTS)) as sockets:
        return {name: each.getsockname()[1] for name, each in zip(PORTS, sockets, strict=True)}


@contextmanager
def _sockets(count: int) -> Iterator[list[socket.socket]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    yield sockets
    for each in sockets:
        each.close()


@dataclass
class Place:
    """A folder with definitions, and the engine of a stack in it."""

    folder: Path
    engine: LocalEngine
    reported: list[Part] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.engine.state_dir

    @property
    def definitions(self) -> Path:
        return self.folder / "definitions"

    def edit(self, file: str, before: str, after: str) -> None:
        path = self.definitions / file
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    def read(self) -> tuple[Stack, str]:
        reading = read_definitions(self.definitions)
        assert reading.stack is not None, reading.problems
        return reading.stack, reading.digest

    def up(self, *, history: bool = False) -> Running:
        stack, release = self.read()
        return self.engine.up(stack, self.definitions, self.reported.append, release=release, history=history)

    def pids(self) -> dict[str, int]:
        return {record.launch.name: record.process.pid for record in self.engine.ledger().records}

    def processes(self) -> list[str]:
        """Command lines of all processes on this machine that have to do with this folder."""
        return [line for line in map(_command_line, Path("/proc").glob("[0-9]*")) if str(self.folder) in line]

    def leftovers(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path != self.definitions]

    def details(self, part: str) -> list[str]:
        return [each.detail for each in self.reported if each.name == part]


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def new_place(folder: Path) -> Place:
    shutil.copytree(EXAMPLE, folder / "definitions")
    place = Place(folder, LocalEngine(folder / ".reliary/aether", ports=free_ports(), patience_seconds=60))
    place.edit("stack.yml", "scrape_interval: 15s", "scrape_interval: 1s")
    place.edit("stack.yml", "evaluation_interval: 30s", "evaluation_interval: 5s")
    return place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = new_place(tmp_path)
    yield place
    place.engine.down(place.reported.append)


@pytest.fixture
def lean(place: Place) -> Place:
    """The same without a demo and without probes: Alertmanager, Prometheus and the exporter."""
    text = (place.definitions / "stack.yml").read_text()
    text = text[: text.index("demo:")].replace("probe:", "# probe:")
    (place.definitions / "stack.yml").write_text(text)
    return place


Compiler = Callable[[Stack, Site, str], tuple[File, ...]]


def spoiling(path: str, text: str) -> Compiler:
    """A compiler that writes this text into one of the files."""

    def compiler(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
        files = compile_stack(stack, site, release)
        return tuple(replace(file, text=text) if file.path == path else file for file in files)

    return compiler


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = new_place(tmp_path_factory.mktemp("whole"))
    place.up(history=True)
    yield place
    place.engine.down(place.reported.append, remove_data=True)
    assert place.leftovers() == []
    assert place.processes() == []


@pytest.fixture(scope="module")
def client(whole: Place) -> Iterator[PrometheusClient]:
    with closing(PrometheusClient(f"http://127.0.0.1:{whole.engine.ports['prometheus']}")) as client:
        yield client


class TestUp:
    """One stack for all of these, started with a past; each leaves it healthy."""

    def test_reports_every_part_until_it_is_healthy(self, whole: Place) -> None:
        last = {part.name: part for part in whole.reported}
        assert {name: part.state for name, part in last.items()} == dict.fromkeys(PORTS, "healthy")
        assert {name: part.url for name, part in last.items()} == {
            name: f"http://127.0.0.1:{port}" for name, port in whole.engine.ports.items()
        }

    def test_tells_others_how_the_parts_are(self, whole: Place) -> None:
        assert {part.name: part.state for part in whole.engine.parts()} == dict.fromkeys(PORTS, "healthy")

    def test_has_everything_scraped(self, client: PrometheusClient) -> None:
        up = {sample.label("job"): sample.value for sample in client.instant("up")}
        assert up == dict.fromkeys(
            ("prometheus", "alertmanager", "reliary-exporter", "aether-api", "aether-api-probe"), 1
        )

    def test_probes_the_demo_in_place_of_the_service(self, client: PrometheusClient) -> None:
        eventually(lambda: [each.value for each in client.instant("probe_success")] == [1], "the probe succeeds")

    def test_sends_alerts_to_alertmanager(self, client: PrometheusClient) -> None:
        found = 'prometheus_notifications_alertmanagers_discovered == 1 and on () ALERTS{alertname="Watchdog"}'
        eventually(lambda: len(client.instant(found)) == 1, "Alertmanager is known and the watchdog fires")

    def test_knows_the_past_month(self, client: PrometheusClient) -> None:
        """By the sums that the rules take; the rules themselves need up to two minutes for their first evaluation."""

        def total(series: str, span: str) -> float:
            return client.instant(f"sum(sum_over_time({series}[{span}]))")[0].value

        errors, events = (
            total(f'tenant_slo:{part}:sum5m{{tenant_id="acme",slo="availability"}}', "30d")
            for part in ("errors", "total")
        )
        assert errors / events == pytest.approx(traffic.HEALTHY.error_ratio, rel=0.1)
        assert total("aether:cost_usd:sum5m", "7d") > 100

    def test_can_be_asked_for_its_status(self, whole: Place) -> None:
        stack, _ = whole.read()
        url = f"http://127.0.0.1:{whole.engine.ports['prometheus']}"

        def acme_is_measured() -> bool:
            [acme] = read_status(stack, url, only=["acme"]).tenants
            return acme.objectives[0].burn_rate_1h.value is not None

        eventually(acme_is_measured, "acme has a burn rate")
        status = read_status(stack, url)
        assert [tenant.id for tenant in status.tenants] == [tenant.id for tenant in stack.tenants]
        assert all(job.up == job.total == 1 for job in status.stack.jobs)
        assert status.stack.unlisted == ()

    def test_again_changes_nothing(self, whole: Place) -> None:
        before = whole.pids()
        assert whole.up().change == "unchanged"
        assert whole.pids() == before

    def test_again_restarts_a_part_that_died(self, whole: Place) -> None:
        before = whole.pids()
        os.kill(before["alertmanager"], signal.SIGKILL)
        eventually(lambda: "failed" in {part.state for part in whole.engine.parts()}, "its death is seen")
        running = whole.up()
        assert running.change == "updated"
        assert {part.state for part in running.parts} == {"healthy"}
        assert whole.engine.ledger().records[1].launch.port == whole.engine.ports["alertmanager"]
        after = whole.pids()
        assert after.pop("alertmanager") != before.pop("alertmanager")
        assert after == before

    def test_again_restarts_a_server_with_its_past(self, whole: Place, client: PrometheusClient) -> None:
        """Blocks of the past and those of the server itself may overlap: it has to open them all the same."""
        os.kill(whole.pids()["prometheus"], signal.SIGKILL)
        whole.up()
        month = 'count_over_time(tenant_slo:total:sum5m{slo="availability", tenant_id="acme"}[30d])'
        assert client.instant(month)[0].value >= 719

    def test_after_a_change_reloads_what_can_and_restarts_the_demo(
        self, whole: Place, client: PrometheusClient
    ) -> None:
        before = whole.pids()
        whole.edit("tenants.yml", "{id: hooli, ", "{id: hooli-inc, ")
        assert whole.up().change == "updated"
        after = whole.pids()
        assert after.pop("demo") != before.pop("demo")
        assert after == before
        with urlopen(f"http://127.0.0.1:{whole.engine.ports['prometheus']}/api/v1/rules") as rules:
            assert b"hooli-inc" in rules.read()
        query = 'count(http_requests_total{tenant_id="hooli-inc"})'
        eventually(lambda: len(client.instant(query)) == 1, "the new tenant has traffic")

    def test_refused_by_a_server_puts_the_old_build_back(self, whole: Place, client: PrometheusClient) -> None:
        before, build = whole.pids(), (whole.state / "build/alertmanager.yml").read_bytes()
        whole.edit("tenants.yml", "{id: hooli-inc, ", "{id: hooli, ")
        broken = replace(whole.engine, compiler=spoiling("alertmanager.yml", "route: {receiver: nobody}"))
        spoiled = Place(whole.folder, broken)
        with pytest.raises(EngineError, match="refuses the new configuration") as refused:
            spoiled.up()
        assert refused.value.part == "alertmanager"
        assert (whole.state / "build/alertmanager.yml").read_bytes() == build
        assert not (whole.state / "build.before").exists()
        after = whole.pids()
        del after["demo"], before["demo"]
        assert after == before
        eventually(lambda: {part.state for part in whole.engine.parts()} == {"healthy"}, "all run as before")
        good = "prometheus_config_last_reload_successful or alertmanager_config_last_reload_successful"
        eventually(lambda: [each.value for each in client.instant(good)] == [1, 1], "with the configuration they had")
        whole.edit("tenants.yml", "{id: hooli, ", "{id: hooli-inc, ")
        assert whole.up().change == "unchanged"


class TestFailure:
    def test_names_the_part_and_its_last_lines_and_leaves_nothing(self, lean: Place) -> None:
        lean.engine = replace(lean.engine, compiler=spoiling("alertmanager.yml", "route: {receiver: nobody}"))
        with pytest.raises(EngineError, match="ended while the stack was starting") as failed:
            lean.up()
        assert failed.value.part == "alertmanager"
        assert "nobody" in "\n".join(failed.value.log_lines)
        assert 0 < len(failed.value.log_lines) <= 15
        assert lean.reported[-1].state == "failed"
        assert (lean.leftovers(), lean.processes()) == ([], [])

    def test_of_a_part_that_never_gets_ready_is_told_in_time(self, lean: Place) -> None:
        lean.engine = replace(lean.engine, program=(sys.executable, "-c", SILENT), patience_seconds=3)
        with pytest.raises(EngineError, match="is not healthy after 3 s: it does not answer yet") as failed:
            lean.up()
        assert (failed.value.part, failed.value.log_lines) == ("exporter", ("busy with nothing",))
        assert (lean.leftovers(), lean.processes()) == ([], [])

    def test_of_rules_that_are_broken_quotes_prometheus(self, lean: Place) -> None:
        lean.engine = replace(lean.engine, compiler=spoiling("rules/alerts.yml", "groups: [{name: 1, rules: 5}]"))
        with pytest.raises(EngineError) as failed:
            lean.up()
        assert failed.value.part == "prometheus"
        assert "rules/alerts.yml" in "\n".join(failed.value.log_lines)

    def test_of_the_compiler_leaves_nothing(self, lean: Place) -> None:
        def compiler(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
            raise RuntimeError("a fault of ours")

        lean.engine = replace(lean.engine, compiler=compiler)
        with pytest.raises(RuntimeError, match="a fault of ours"):
            lean.up()
        assert lean.leftovers() == []

    def test_keeps_the_data_of_earlier_runs(self, lean: Place) -> None:
        lean.up()
        lean.engine.down(lean.reported.append)
        kept = set((lean.state / "data/prometheus").iterdir())
        broken = Place(lean.folder, replace(lean.engine, compiler=spoiling("prometheus.yml", "nonsense: true")))
        with pytest.raises(EngineError, match="prometheus"):
            broken.up()
        assert kept <= set((lean.state / "data/prometheus").iterdir())
        assert lean.processes() == []

    def test_of_a_state_that_cannot_be_read_touches_nothing(self, lean: Place) -> None:
        lean.state.mkdir(parents=True)
        (lean.state / "state.json").write_text("{")
        with pytest.raises(EngineError, match="damaged"):
            lean.up()
        assert (lean.state / "state.json").read_text() == "{"
        (lean.state / "state.json").unlink()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_to_wait_for_it_leaves_nothing(self, lean: Place, number: signal.Signals) -> None:
        """A user presses Ctrl-C, or a CI job is cancelled, while the servers are starting."""
        code = f"""
import sys
from pathlib import Path
from reliary.definitions.spec import read_definitions
from reliary_stack.engines.local import LocalEngine
folder = Path({str(lean.definitions)!r})
reading = read_definitions(folder)
engine = LocalEngine(Path({str(lean.state)!r}), program=(sys.executable, "-c", {SILENT!r}), ports={lean.engine.ports!r})
engine.up(reading.stack, folder, lambda part: print(part.name, part.state, flush=True), release=reading.digest)
"""
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        eventually(lambda: "exporter" in str(child.stdout and child.stdout.readline()), "all servers are started")
        assert len(lean.processes()) >= 3
        child.send_signal(number)
        _, errors = child.communicate(timeout=60)
        assert child.returncode == (128 + number if number == signal.SIGTERM else -number), errors
        assert (lean.leftovers(), lean.processes()) == ([], [])


class TestPorts:
    def test_that_are_taken_are_replaced_and_named(self, lean: Place) -> None:
        usual = lean.engine.ports["prometheus"]
        with closing(socket.create_server(("127.0.0.1", usual))):
            running = lean.up()
        [prometheus] = [part for part in running.parts if part.name == "prometheus"]
        assert prometheus.detail == f"port {usual} is taken"
        assert prometheus.url == running.prometheus_url != f"http://127.0.0.1:{usual}"
        assert PrometheusClient(running.prometheus_url).ready()
        config = json.loads((lean.state / "build/exporter.json").read_text())
        assert config["prometheus_url"] == running.prometheus_url

    def test_stay_the_same_while_the_stack_runs(self, lean: Place) -> None:
        usual = lean.engine.ports["alertmanager"]
        with closing(socket.create_server(("127.0.0.1", usual))):
            first = lean.up()
        assert lean.up().parts == first.parts


class TestDown:
    def test_stops_all_and_keeps_the_data(self, lean: Place) -> None:
        lean.up()
        stopped = lean.engine.down(lean.reported.append)
        assert {part.state for part in stopped} == {"stopped"}
        assert {part.name for part in stopped} == {"alertmanager", "prometheus", "exporter"}
        assert lean.processes() == []
        assert lean.engine.parts() == ()
        assert (lean.state / "data/prometheus").is_dir()

    def test_with_its_data_leaves_nothing(self, lean: Place) -> None:
        lean.up()
        lean.engine.down(lean.reported.append, remove_data=True)
        assert (lean.leftovers(), lean.processes()) == ([], [])

    def test_removes_only_what_is_ours(self, lean: Place) -> None:
        lean.up()
        (lean.state / "notes.txt").write_text("mine")
        lean.engine.down(lean.reported.append, remove_data=True)
        assert {path.name for path in lean.state.iterdir()} == {"notes.txt", "lock"}

    def test_of_what_is_not_up_is_nothing(self, lean: Place) -> None:
        assert lean.engine.down(lean.reported.append) == ()
        assert lean.leftovers() == []

    def test_kills_nobody_who_has_got_a_pid_of_ours_since(self, lean: Place) -> None:
        lean.up()
        innocent = subprocess.Popen([sys.executable, "-c", SILENT], stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            prometheus = next(each for each in lean.engine.ledger().records if each.launch.name == "prometheus")
            state = json.loads((lean.state / "state.json").read_text())
            state["records"][1]["process"]["pid"] = innocent.pid
            (lean.state / "state.json").write_text(json.dumps(state))
            stopped = lean.engine.down(lean.reported.append)
            assert {part.name for part in stopped} == {"alertmanager", "exporter"}
            assert innocent.poll() is None
            assert is_alive(prometheus.process), "it was not recorded any more"
            os.kill(prometheus.process.pid, signal.SIGKILL)
            eventually(lambda: not is_alive(prometheus.process), "it ends")
        finally:
            innocent.kill()
            innocent.wait()


class TestLock:
    def test_a_second_run_is_told_who_is_at_work(self, lean: Place) -> None:
        entered, go_on = threading.Event(), threading.Event()

        def compiler(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
            entered.set()
            go_on.wait(60)
            raise RuntimeError("enough")

        def first() -> None:
            with suppress(RuntimeError):
                Place(lean.folder, replace(lean.engine, compiler=compiler)).up()

        thread = threading.Thread(target=first)
        thread.start()
        try:
            assert entered.wait(60)
            for verb in (lean.up, lambda: lean.engine.down(lean.reported.append)):
                with pytest.raises(EngineError, match=rf"`reliary up` \(pid {os.getpid()}\) is at work in"):
                    verb()
        finally:
            go_on.set()
            thread.join()
        assert lean.leftovers() == []
