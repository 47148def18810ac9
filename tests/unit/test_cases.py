"""Faulty definitions and the exact report of each: `tests/cases/README.md` says how a case is laid out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reliary.definitions.source import MAX_BYTES
from reliary.definitions.spec import Reading, read_definitions
from reliary.problems import Problem, as_github, as_json, as_text

CASES = Path(__file__).parents[1] / "cases"
FOLDERS = sorted(folder for folder in CASES.iterdir() if folder.is_dir() and folder.name[0].isdigit())
UPDATE = os.environ.get("RELIARY_UPDATE_GOLDEN") == "1"
DEFINITIONS = Path("definitions")


def empty_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("not a definition")
    (folder / ".hidden.yml").write_text("stack: hidden")


def no_such_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def file_of_50_megabytes(folder: Path) -> None:
    with (folder / "tenants.yml").open("wb") as file:
        file.write(b"tenants:\n")
        file.truncate(50 * 1024 * 1024)


def hundred_thousand_brackets(folder: Path) -> None:
    (folder / "slos.yml").write_text("slos: " + "[" * 100_000)


def control_characters(folder: Path) -> None:
    (folder / "tenants.yml").write_bytes(b"tenants:\n  - {id: acme\x00, tier: pro}\n")
    (folder / "slos.yml").write_bytes("slos:\r\n  \x85  a\x9b31mb: 1\n".encode())
    (folder / "stack.yml").write_bytes("stack: shop\ufeff\n".encode())


def byte_order_mark(folder: Path) -> None:
    (folder / "tenants.yml").write_bytes(b"\xef\xbb\xbftiers: {pro: {}}\ntenants: [{id: acme, tier: pr}]\n")
    (folder / "notify.yml").write_bytes(b"\xef\xbb\xbfreceivers: 1\nroutes: 2\n")


def windows_line_ends(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    path = folder / "tenants.yml"
    path.write_bytes(path.read_bytes().replace(b"tier: pro", b"tier: gold"))


def not_utf_8(folder: Path) -> None:
    (folder / "tenants.yml").write_bytes("# tenants\ntenants:\n  - {id: acme, name: Café Zoë}\n".encode("latin-1"))


def utf_16(folder: Path) -> None:
    (folder / "slos.yml").write_text("slos: {}", encoding="utf-16")
    (folder / "tenants.yml").write_text("tenants: []", encoding="utf-16-le")


def unreadable_file(folder: Path) -> None:
    # Root may read everything, but not the memory of a process from its start.
    (folder / "tenants.yml").unlink()
    (folder / "tenants.yml").symlink_to("/proc/self/mem")


def links_and_folders(folder: Path) -> None:
    (folder / "loop.yml").symlink_to("loop.yml")
    (folder / "gone.yaml").symlink_to("nowhere")
    (folder / "tenants.yml").unlink()
    (folder / "tenants.yml").mkdir()
    os.mkfifo(folder / "pipe.csv")
    (folder / ".#lock.yml").symlink_to("me@host.4711")


def two_thousand_problems(folder: Path) -> None:
    rows = "".join(f"  - {{id: acme {number}, tier: pro}}\n" for number in range(2000))
    (folder / "more.yml").write_text("tenants:\n" + rows)


BUILT: dict[str, Callable[[Path], None]] = {
    build.__name__.replace("_", "-"): build
    for build in (
        empty_folder,
        no_such_folder,
        file_of_50_megabytes,
        hundred_thousand_brackets,
        control_characters,
        byte_order_mark,
        windows_line_ends,
        not_utf_8,
        utf_16,
        unreadable_file,
        links_and_folders,
        two_thousand_problems,
    )
}


def lay_out(case: Path, folder: Path) -> None:
    """The base with what differs in this case."""
    shutil.copytree(CASES / "base", folder)
    if (case / "in").is_dir():
        shutil.copytree(case / "in", folder, dirs_exist_ok=True)
    else:
        BUILT[case.name[3:]](folder)


def read_case(case: Path) -> Reading:
    lay_out(case, DEFINITIONS)
    return read_definitions(DEFINITIONS)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", FOLDERS, ids=lambda case: case.name)
def test_report(case: Path) -> None:
    reading = read_case(case)
    report = as_text(reading.problems)
    golden = case / "expect" / "report.txt"
    if UPDATE:
        golden.write_text(report, encoding="utf-8")
    assert report == golden.read_text(encoding="utf-8")
    assert report.strip()
    assert reading.stack is None


@pytest.mark.parametrize(("name", "form"), [("report.json", as_json), ("report.github", as_github)])
def test_the_other_formats(name: str, form: Callable[[tuple[Problem, ...]], str]) -> None:
    (case,) = CASES.glob("*-ten-faults-in-one-file")
    report = form(read_case(case).problems)
    golden = case / "expect" / name
    if UPDATE:
        golden.write_text(report, encoding="utf-8")
    assert report == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", FOLDERS, ids=lambda case: case.name)
def test_a_report_cannot_steer_a_terminal(case: Path) -> None:
    report = as_text(read_case(case).problems)
    assert all(line.isprintable() for line in report.split("\n"))


def test_the_base_is_valid() -> None:
    shutil.copytree(CASES / "base", DEFINITIONS)
    assert read_definitions(DEFINITIONS).problems == ()


def test_every_built_case_has_a_folder() -> None:
    without_files = {case.name[3:] for case in FOLDERS if not (case / "in").is_dir()}
    assert without_files == set(BUILT)


def test_the_limit_is_the_one_that_the_report_names() -> None:
    (report,) = CASES.glob("*-file-of-50-megabytes/expect/report.txt")
    assert f"{MAX_BYTES:,}" in report.read_text()
