"""The definition reader: one mistake gives one problem, all are found at once, and nothing makes it raise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from reliary import routes
from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary.definitions import receivers as spec_receivers
from reliary.definitions.shapes import MAX_GUESSES
from reliary.definitions.source import decoded
from reliary.definitions.spec import Reading, read_definitions
from reliary.definitions.yamltree import Mapping, Node, Scalar, Sequence, read_yaml
from reliary.exporterfile import RESERVED_LABELS
from reliary.problems import Severity, as_text

ROOT = Path(__file__).parents[2]
BASE = ROOT / "tests" / "cases" / "base"
AETHER = ROOT / "examples" / "aether"


def laid_out(folder: Path, base: Path = BASE, **files: str) -> Path:
    """A folder with the base and these files; `tenants_csv` becomes tenants.csv, other names get .yml."""
    shutil.copytree(base, folder, dirs_exist_ok=True)
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        (folder / (f"{stem}.{suffix}" if suffix in ("csv", "jsonl") else f"{name}.yml")).write_text(text)
    return folder


def codes(reading: Reading) -> list[str]:
    return [problem.code for problem in reading.problems]


def read(tmp_path: Path, **files: str) -> Reading:
    return read_definitions(laid_out(tmp_path / "definitions", **files))


def test_the_example_is_read_as_it_is_written() -> None:
    reading = read_definitions(AETHER)
    assert reading.problems == ()
    stack = reading.stack
    assert stack is not None
    assert (stack.name, stack.namespace, stack.tenant_label) == ("aether", "aether", "tenant_id")
    assert (stack.scrape_interval_seconds, stack.retention_seconds) == (15, 35 * 86400)
    assert [tenant.id for tenant in stack.vips] == ["vip-customer-123", "vip-customer-456"]
    assert stack.tenants[0].objectives == (("availability", Decimal("99.99")),)
    assert stack.slos[0].by_tier == (("pro", Decimal("99.9")), ("enterprise", Decimal("99.95")))
    assert stack.demo is not None
    assert stack.demo.seed == 7


def test_decimals_keep_the_places_they_were_written_with(tmp_path: Path) -> None:
    slo = "slos: {a: {bad: x_total, total: y_total, objective: 99.90, window: 30d}}"
    stack = read(tmp_path, slos=slo).stack
    assert stack is not None
    assert str(stack.slos[0].default) == "99.90"


@pytest.mark.parametrize(
    ("within", "seconds"), [("500ms", "0.5"), ("1s", "1"), ("2500ms", "2.5"), ("1m", "60"), ("1s50ms", "1.05")]
)
def test_a_latency_may_be_less_than_a_second(tmp_path: Path, within: str, seconds: str) -> None:
    slo = f"slos: {{a: {{histogram: request_duration_seconds, within: {within}, objective: 99, window: 30d}}}}"
    stack = read(tmp_path, slos=slo).stack
    assert stack is not None
    assert str(getattr(stack.slos[0].source, "within_seconds", None)) == seconds


def test_a_seed_of_zero_is_a_seed(tmp_path: Path) -> None:
    stack = read(tmp_path, demo="demo: {service: api, seed: 0, requests_per_second: {pro: 1}}").stack
    assert stack is not None
    assert stack.demo is not None
    assert stack.demo.seed == 0


# -- one mistake, one problem

SCORE = "{{profile: a, over: {}, components: {{a: {{indicator: cache_hits, weight: {}, zero: 0, full: 1}}}}}}"


def scalars(node: Node | None) -> Iterator[Scalar]:
    match node:
        case Scalar():
            yield node
        case Sequence(items):
            for item in items:
                yield from scalars(item)
        case Mapping(entries):
            for _, value in entries:
                yield from scalars(value)


def keys(node: Node | None) -> Iterator[Scalar]:
    match node:
        case Sequence(items):
            for item in items:
                yield from keys(item)
        case Mapping(entries):
            for key, value in entries:
                yield key
                yield from keys(value)


def tree(path: Path) -> Node | None:
    return read_yaml(decoded(path.name, path.read_bytes())).root


def with_text(path: Path, at: Scalar, text: str) -> str:
    """The file with other text in the place of a scalar."""
    lines = path.read_text().split("\n")
    place = at.place
    line = lines[place.line - 1]
    lines[place.line - 1] = line[: place.column - 1] + text + line[place.column - 1 + place.width :]
    return "\n".join(lines)


FILES = sorted(path.name for path in AETHER.glob("*.yml"))


@pytest.mark.parametrize("name", FILES)
def test_a_value_of_the_wrong_type_is_one_problem(tmp_path: Path, name: str) -> None:
    folder = laid_out(tmp_path / "aether", AETHER)
    values = list(scalars(tree(AETHER / name)))
    assert values
    for value in values:
        (folder / name).write_text(with_text(AETHER / name, value, "[[]]"))
        reading = read_definitions(folder)
        assert codes(reading) == ["B111"], as_text(reading.problems)
        assert reading.problems[0].place.line == value.place.line


@pytest.mark.parametrize("name", FILES)
def test_a_key_that_is_misspelt_is_one_problem(tmp_path: Path, name: str) -> None:
    folder = laid_out(tmp_path / "aether", AETHER)
    for key in keys(tree(AETHER / name)):
        (folder / name).write_text(with_text(AETHER / name, key, key.text + "x"))
        reading = read_definitions(folder)
        assert len(reading.problems) <= 1, as_text(reading.problems)
        assert set(codes(reading)) <= {"B110", "B116"}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("broken", ["\nbroken: [", "", "\x00"])
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path, name: str, broken: str) -> None:
    folder = laid_out(tmp_path / "aether", AETHER)
    (folder / name).write_text(broken and (AETHER / name).read_text() + broken)
    assert len(read_definitions(folder).problems) == 1


LONG = "slos: {a: {bad: x, total: y, objective: 99, window: 90d}}"
SHORT = "indicators: {a: {good: x, total: y, over: 5s}}"
LABEL = "slos: {a: {bad: 'sum by (customer) (increase(x[{window}]))', total: y, objective: 99, window: 30d}}"


@pytest.mark.parametrize(
    ("setting", "dependent"),
    [
        ("retention: 100 days", LONG),
        ("retention: [", LONG),
        ("scrape_interval: fast", SHORT),
        ("scrape_interval: 'fast", SHORT),
        ("tenant_label: [customer]", LABEL),
        ("tenant_label: {", LABEL),
    ],
)
def test_what_depends_on_a_setting_that_cannot_be_read_is_not_blamed(
    tmp_path: Path, setting: str, dependent: str
) -> None:
    assert len(read(tmp_path, more=setting, dependent=dependent).problems) == 1
    (tmp_path / "definitions" / "more.yml").unlink()
    assert len(read_definitions(tmp_path / "definitions").problems) == 1


@pytest.mark.parametrize("name", FILES)
def test_a_section_of_the_wrong_type_is_one_problem(tmp_path: Path, name: str) -> None:
    folder = laid_out(tmp_path / "aether", AETHER)
    root = tree(AETHER / name)
    assert isinstance(root, Mapping)
    for key, _ in root.entries:
        others = "".join(f"{line}\n" for line in sections(AETHER / name, leave_out=key.text))
        (folder / name).write_text(f"{others}{key.text}: [[]]\n")
        assert codes(read_definitions(folder)) == ["B111"], key.text


def sections(path: Path, leave_out: str) -> Iterator[str]:
    inside = False
    for line in path.read_text().splitlines():
        if line[:1].isalpha():
            inside = line.startswith(f"{leave_out}:")
        if not inside:
            yield line


@pytest.mark.parametrize("key", ["stack", "services", "tiers", "tenants", "receivers", "routes"])
def test_a_section_that_is_missing_is_one_problem(tmp_path: Path, key: str) -> None:
    folder = laid_out(tmp_path / "aether", AETHER)
    for name in FILES:
        (folder / name).write_text("\n".join(sections(AETHER / name, leave_out=key)) + "\n")
    assert codes(read_definitions(folder)) == ["B112"]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("tiers", "{default: {}}", ["B117"]),
        ("namespace", "tenant_slo", ["B117"]),
        ("tenant_label", "burn", ["B117"]),
        ("tenant_label", "NaN", ["B117"]),
        ("indicators", "{a: {good: x, bad: y, total: z, over: 5m}}", ["B112"]),
        ("indicators", "{a: {good: x, total: z, over: 5m, histogram: y}}", ["B110"]),
        ("slos", "{a: {histogram: x, objective: 99, window: 30d}}", ["B112"]),
        ("slos", "{a: {within: 1s, bad: x, total: y, objective: 99, window: 30d}}", ["B112"]),
        ("slos", "{a: {histogram: x, within: 0ms, objective: 99, window: 30d}}", ["B113"]),
        ("slos", "{a: {histogram: 'rate(x[5m])', within: 1s, objective: 99, window: 30d}}", ["B122"]),
        ("prices", "{call: {counter: 'sum by (tenant_id) (increase(x[{window}]))', usd: 1}}", ["B112", "B122"]),
        ("smtp", "{smarthost: 'mail:99999', from: '{{x}}@example.com'}", ["B117"]),
        ("services", "{a: {scrape: 'a:8000', metrics_path: ../etc}}", ["B117"]),
        ("runbook_base_url", "'javascript:alert(1)'", ["B117"]),
        ("pins", "latest", ["B113"]),
        ("retention", "３５d", ["B111"]),
        ("demo", "{service: api, requests_per_second: {pro: ٣}}", ["B111"]),
        ("tiers", "{free: &x {}, <<: *x, gold: {}}", ["B106"]),
        ("retention", "10m", ["B113"]),
        ("health_score", SCORE.format("20s", "100"), ["B121"]),
        ("health_score", SCORE.format("60d", "100"), ["B113"]),
        ("health_score", SCORE.format("5m", "33.5"), ["B111"]),
    ],
)  # fmt: skip
def test_more_faults(tmp_path: Path, name: str, text: str, found: list[str]) -> None:
    assert codes(read(tmp_path, more=f"{name}: {text}\n")) == found


def test_every_window_is_within_the_retention(tmp_path: Path) -> None:
    score = SCORE.format("3d", "100").replace("cache_hits", "a")
    definitions = f"retention: 1d\nindicators: {{a: {{good: x, total: y, over: 2d}}}}\nhealth_score: {score}\n"
    assert codes(read(tmp_path, slos="slos: {}", indicators=definitions)) == ["B119", "B119"]


def test_a_tier_without_a_description_is_written_in_braces(tmp_path: Path) -> None:
    assert codes(read(tmp_path, more="tiers: {free: {}}")) == []


@pytest.mark.parametrize("label", sorted(RESERVED_LABELS))
def test_a_label_of_the_exporter_cannot_be_the_tenant_label(tmp_path: Path, label: str) -> None:
    assert codes(read(tmp_path, more=f"tenant_label: {label}")) == ["B117"]


def test_the_reserved_receiver_is_the_one_that_is_written() -> None:
    assert spec_receivers.NOBODY == routes.NOBODY


def test_a_warning_alone_gives_a_stack(tmp_path: Path) -> None:
    reading = read(tmp_path, more='receivers: {spare: {webhook: "http://a/"}}')
    assert [problem.severity for problem in reading.problems] == [Severity.WARNING]
    assert reading.stack is not None


def test_an_unknown_name_is_told_once_with_the_places_that_use_it(tmp_path: Path) -> None:
    rows = "".join(f"t{number},gold\n" for number in range(3000))
    reading = read(tmp_path, more_csv="id,tier\n" + rows)
    assert codes(reading) == ["B116"]
    assert "more.csv:3:4" in reading.problems[0].message
    assert "and 2,996 more" in reading.problems[0].message


def test_guesses_end_where_they_help_nobody(tmp_path: Path) -> None:
    """Comparing words takes a millisecond each: for half a million of them that would be minutes."""
    reading = read(tmp_path, more="".join(f"tenan{number}: 1\n" for number in range(1000)))
    assert len(reading.problems) == 1000
    assert sum("Did you mean" in problem.advice for problem in reading.problems) == MAX_GUESSES


@pytest.mark.parametrize(
    "query", ["-" * 1900 + "x[{window}]", "x" + "+x" * 900 + "+increase(x[{window}])", "abs(" * 390 + "x"]
)
def test_a_query_without_end_is_refused(tmp_path: Path, query: str) -> None:
    slo = f"slos: {{a: {{bad: '{query}', total: y_total, objective: 99, window: 30d}}}}"
    assert codes(read(tmp_path, slos=slo)) == ["B122"]


# -- names and folders


def test_places_are_written_as_the_folder_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laid_out(tmp_path / "a" / "definitions", more="color: 1")
    monkeypatch.chdir(tmp_path / "a")
    assert read_definitions(Path("definitions")).problems[0].place.file == "definitions/more.yml"
    assert (
        read_definitions(tmp_path / "a" / "definitions").problems[0].place.file == f"{tmp_path}/a/definitions/more.yml"
    )
    monkeypatch.chdir("definitions")
    assert read_definitions(Path()).problems[0].place.file == "more.yml"


@pytest.mark.parametrize(
    "name", [b"\xff.yml", b"a\nb.yml", b"\x1b[31m.yml", "é 🚀.yml".encode(), b"-o.yml", b"%0A::error.yml"]
)
def test_names_of_files_cannot_steer_a_terminal(tmp_path: Path, name: bytes) -> None:
    folder = laid_out(tmp_path / "definitions")
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("color: 1\n")
    reading = read_definitions(folder)
    assert codes(reading) == ["B110"]
    text = as_text(reading.problems)
    assert text.encode()
    assert text.replace("\n", "").isprintable()


def test_a_path_that_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "gone", Path("a\0b"), tmp_path / ("x" * 300)):
        assert codes(read_definitions(path)) == ["B101"]


def test_the_digest_names_the_definitions(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "a")
    first = read_definitions(folder).digest
    assert read_definitions(laid_out(tmp_path / "b")).digest == first
    (folder / "notify.yml").rename(folder / "notify.yaml")
    second = read_definitions(folder).digest
    (folder / "stack.yml").write_text((folder / "stack.yml").read_text() + "\n")
    assert len({first, second, read_definitions(folder).digest}) == 3


# -- the same every time

PRINTED = """
import sys
from pathlib import Path
from reliary.problems import as_json
from reliary.definitions.spec import read_definitions
sys.stdout.write(as_json(read_definitions(Path(sys.argv[1])).problems))
"""
TEN_FAULTS = next((ROOT / "tests" / "cases").glob("*-ten-faults-in-one-file")) / "in" / "slos.yml"


def test_all_problems_come_at_once_and_in_order(tmp_path: Path) -> None:
    reading = read_definitions(laid_out(tmp_path / "definitions", slos=TEN_FAULTS.read_text()))
    places = [(problem.place.file, problem.place.line, problem.place.column) for problem in reading.problems]
    assert len(set(codes(reading))) >= 10
    assert places == sorted(places)
    assert len(set(reading.problems)) == len(reading.problems)


def test_the_report_does_not_depend_on_the_seed_of_hashes(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "definitions", slos=TEN_FAULTS.read_text())
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINTED, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) == 1
    assert len(json.loads(outputs.pop())["problems"]) >= 10


# -- anything at all

NOISE = st.sampled_from(
    [
        *"{}[]:,-#&*!|>'\"%@`~?\\ \n\t",
        "\n  ",
        "{{",
        "}}",
        "null",
        "yes",
        "-1",
        "1e9",
        "0",
        "99.9",
        "vip",
        "free",
        "availability",
        "[[]]",
        "{a: 1}",
        "&a ",
        "*a",
        "!!x ",
        "<<: ",
        "\r",
        "\x00",
        "é",
        "🚀",
        "../",
        "{window}",
        "sum(",
        "default",
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, str]:
    """The example with a few pieces of text put in, taken out or replaced."""
    files = {}
    for name in draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=2, unique=True)):
        text = (AETHER / name).read_text()
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(text)))
            gone = draw(st.sampled_from([0, 0, 1, 5, 40]))
            text = text[:start] + draw(NOISE) + text[start + gone :]
        files[name] = text
    return files


@settings(max_examples=150, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(damaged())
def test_damaged_definitions_give_problems_or_a_stack_that_compiles(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    folder = laid_out(tmp_path_factory.mktemp("damaged") / "aether", AETHER)
    for name, text in files.items():
        (folder / name).write_text(text)
    check(read_definitions(folder))
    shutil.rmtree(folder)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["a.yml", "tenants.csv", "tenants.jsonl"]),
    st.binary(max_size=100) | st.lists(NOISE).map("".join).map(str.encode),
)
def test_any_bytes_give_problems_or_a_stack(tmp_path_factory: pytest.TempPathFactory, name: str, raw: bytes) -> None:
    folder = laid_out(tmp_path_factory.mktemp("bytes") / "definitions")
    (folder / name).write_bytes(raw)
    check(read_definitions(folder))
    shutil.rmtree(folder)


def check(reading: Reading) -> None:
    errors = [problem for problem in reading.problems if problem.severity is Severity.ERROR]
    assert (reading.stack is None) == bool(errors)
    assert as_text(reading.problems).replace("\n", "").isprintable()
    if reading.stack is not None:
        assert compile_stack(reading.stack, Site(), reading.digest)


# -- size: what is hostile or big is refused or read, in bounded time and memory

LIMITED = """
import resource, sys, time
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (1500 << 20, 1500 << 20))
from reliary.problems import as_text
from reliary.definitions.spec import read_definitions
reading = read_definitions(Path(sys.argv[1]))
assert len(as_text(reading.problems)) < 100_000
print(reading.stack is not None and len(reading.stack.tenants), *sorted({problem.code for problem in reading.problems}))
"""
MEGABYTES_15 = 15 << 20


def limited(folder: Path) -> str:
    """Reads in a process of its own that may take 1.5 GB and a minute."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "piece", "head", "expected"),
    [
        ("a.yml", "1,", "stack: [", "False B105"),
        ("a.yml", "[", "stack: ", "False B107"),
        ("a.yml", "\n", "", "False B102"),
        ("a.yml", "a: 1\n", "", "False B105"),
        ("a.yml", "x", 'indicators: "', "False B104"),
        ("a.csv", ",", "", "False B105"),
        ("a.csv", '"x",', "id,tier\n", "False B105"),
        ("a.jsonl", "[", "", "False B107"),
        ("a.jsonl", "1,", "[", "False B105"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused(tmp_path: Path, name: str, piece: str, head: str, expected: str) -> None:
    folder = laid_out(tmp_path / "definitions")
    (folder / name).write_text(head + piece * ((MEGABYTES_15 - len(head)) // len(piece)))
    assert limited(folder) == expected


def test_a_line_of_many_keys_is_read_once(tmp_path: Path) -> None:
    """Looking for each key from the start of its line took minutes."""
    folder = laid_out(tmp_path / "definitions")
    (folder / "a.jsonl").write_text("{" + ",".join(f'"k{number}":1' for number in range(150_000)) + "}\n")
    assert limited(folder) == "False B110 B112"


def test_ten_thousand_tenants_are_read(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "definitions")
    (folder / "more.csv").write_text(
        "id,tier,name,vip\n" + "".join(f"t{n},pro,Tenant {n},false\n" for n in range(10_000))
    )
    assert limited(folder) == "10001"
