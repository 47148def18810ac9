"""A build is written whole or not at all, over nothing that is not a build, and the same each time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reliary.artifacts import File, Site
from reliary.compile import compile_stack
from reliary.definitions.spec import read_definitions
from reliary.emit import MANIFEST, NotABuild, manifest, write_build

ROOT = Path(__file__).parents[2]
AETHER = ROOT / "examples" / "aether"
OLD = (File("a.yml", "old: a\n"), File("rules/b.yml", "old: b\n"))
NEW = (File("a.yml", "new: a\n"), File("rules/c.yml", "new: é\n"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build with the old files, alone in its folder."""
    folder = tmp_path / "work" / "build"
    write_build(OLD, "old", folder)
    return folder


def untouched(build: Path, before: dict[str, bytes]) -> bool:
    """The build is as it was, and nothing else was left beside it."""
    return contents(build) == before and [path.name for path in build.parent.iterdir()] == ["build"]


def test_a_build_has_its_files_and_a_manifest_of_them(build: Path) -> None:
    found = contents(build)
    about = json.loads(found.pop(MANIFEST))
    assert found == {"a.yml": b"old: a\n", "rules/b.yml": b"old: b\n"}
    assert about["definitions_sha256"] == "old"
    assert about["files"] == {
        name: {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()} for name, raw in found.items()
    }


def test_a_build_takes_the_place_of_another(build: Path) -> None:
    write_build(NEW, "new", build)
    assert set(contents(build)) == {"a.yml", "rules/c.yml", MANIFEST}
    assert (build / "rules/c.yml").read_bytes() == "new: é\n".encode()
    assert [path.name for path in build.parent.iterdir()] == ["build"]


def test_a_file_that_has_not_changed_is_the_old_one(build: Path) -> None:
    before = {path.name: path.stat().st_ino for path in build.rglob("*.yml")}
    write_build((OLD[0], File("rules/b.yml", "old: c\n"), File("rules/copy.yml", OLD[0].text)), "new", build)
    after = {path.name: path.stat() for path in build.rglob("*.yml")}
    assert after["a.yml"].st_ino == before["a.yml"]
    assert after["b.yml"].st_ino != before["b.yml"]
    assert {about.st_nlink for about in after.values()} == {1}
    assert contents(build)["rules/b.yml"] == b"old: c\n"


def changed_by_hand(path: Path) -> None:
    path.write_text("old: x\n")


def hidden(path: Path) -> None:
    path.chmod(0o600)


def linked_elsewhere(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [changed_by_hand, hidden, linked_elsewhere, made_a_folder, removed])
def test_whatever_was_done_to_old_files_new_ones_are_as_ever(build: Path, change: Callable[[Path], None]) -> None:
    change(build / "a.yml")
    write_build(OLD, "old", build)
    assert set(contents(build)) == {"a.yml", "rules/b.yml", MANIFEST}
    assert (build / "a.yml").read_bytes() == b"old: a\n"
    assert not (build / "a.yml").is_symlink()
    assert (build / "a.yml").stat().st_mode == (build / MANIFEST).stat().st_mode


def test_a_file_system_without_links_gets_copies(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuses)
    write_build(OLD, "new", build)
    assert contents(build)["a.yml"] == b"old: a\n"


def test_others_may_read_a_build(build: Path) -> None:
    assert build.stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    write_build(NEW, "new", tmp_path / "build")
    assert (tmp_path / "build" / MANIFEST).is_file()


def test_a_folder_that_is_no_build_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years")
    with pytest.raises(NotABuild, match="manifest"):
        write_build(NEW, "new", tmp_path / "home")
    assert contents(tmp_path) == {"home/thesis.txt": b"years"}


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("a file")
    with pytest.raises(OSError, match="Not a directory"):
        write_build(NEW, "new", tmp_path / "build")
    assert contents(tmp_path) == {"build": b"a file"}


def test_text_that_cannot_be_encoded_leaves_the_old_build(build: Path) -> None:
    before = contents(build)
    with pytest.raises(UnicodeEncodeError):
        write_build((*NEW, File("z.yml", "\ud800")), "new", build)
    assert untouched(build, before)


FULL = """
import resource, signal, sys
from pathlib import Path
from reliary.artifacts import File
from reliary.emit import write_build
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
try:
    write_build((File("a.yml", "a" * 50), File("b/c.yml", "b" * 100)), "new", Path(sys.argv[2]))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize("largest", [10, 60, 120])
def test_a_disk_that_takes_no_more_leaves_the_old_build(build: Path, largest: int) -> None:
    """It takes so many bytes in a file: writing ends in the first file, in the second, and in the manifest."""
    before = contents(build)
    command = [sys.executable, "-B", "-c", FULL, str(largest), str(build)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert untouched(build, before)


@pytest.mark.parametrize("number", [1, 2])
def test_an_exchange_that_fails_leaves_the_old_build(build: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    before, calls, rename = contents(build), [], Path.rename

    def fails(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == number:
            raise OSError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="Permission denied"):
        write_build(NEW, "new", build)
    assert untouched(build, before)


def test_nothing_is_written_where_definitions_are_faulty(tmp_path: Path) -> None:
    """There is nothing to write: without a stack there are no files."""
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "stack.yml").write_text("stack: A\n")
    assert read_definitions(tmp_path / "definitions").stack is None


def test_a_build_through_the_command_is_kept_when_definitions_are_faulty(build: Path, tmp_path: Path) -> None:
    before = contents(build)
    (tmp_path / "definitions").mkdir()
    for path in AETHER.glob("*.yml"):
        text = path.read_text().replace("objective: 99\n", "objective: 100\n")
        (tmp_path / "definitions" / path.name).write_text(text)
    command = [sys.executable, "-m", "reliary_stack", "compile", str(tmp_path / "definitions"), "-o", str(build)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "B114" in done.stderr
    assert untouched(build, before)


# -- the same bytes

BUILT = """
import sys
from collections.abc import Callable
from pathlib import Path
from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary.emit import write_build
from reliary.definitions.spec import read_definitions
reading = read_definitions(Path(sys.argv[1]))
write_build(compile_stack(reading.stack, Site(), reading.digest), reading.digest, Path(sys.argv[2]))
"""


def test_two_builds_have_the_same_bytes_whatever_the_seed_of_hashes(tmp_path: Path) -> None:
    for seed in ("0", "1", "4711"):
        subprocess.run(
            [sys.executable, "-c", BUILT, str(AETHER), str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
    builds = [contents(tmp_path / seed) for seed in ("0", "1", "4711")]
    assert len(builds[0]) > 20
    assert builds[0] == builds[1] == builds[2]


def test_a_build_does_not_depend_on_where_definitions_lie_or_in_which_order(tmp_path: Path) -> None:
    for name, paths in (("a", sorted(AETHER.iterdir())), ("b", sorted(AETHER.iterdir(), reverse=True))):
        (tmp_path / name).mkdir()
        for path in paths:
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    stacks = [read_definitions(tmp_path / name) for name in ("a", "b")]
    assert stacks[0].digest == stacks[1].digest
    assert stacks[0].stack is not None
    assert stacks[0].stack == stacks[1].stack


def test_a_manifest_does_not_depend_on_the_order_of_files() -> None:
    assert manifest(NEW, "r") == manifest(NEW[::-1], "r")


def test_every_path_of_a_build_is_written_once() -> None:
    stack = read_definitions(AETHER).stack
    assert stack is not None
    paths = [file.path for file in compile_stack(stack, Site(), "r")]
    assert len(set(paths)) == len(paths)
    assert MANIFEST not in paths


@pytest.mark.parametrize("files", [(File("a", "1"), File("a", "2")), (File(MANIFEST, "{}"),)])
def test_two_files_of_one_path_are_refused(tmp_path: Path, files: tuple[File, ...]) -> None:
    with pytest.raises(ValueError, match="twice"):
        write_build(files, "r", tmp_path / "build")


def test_a_link_to_a_build_leaves_nothing_behind(tmp_path: Path) -> None:
    write_build(OLD, "old", tmp_path / "releases" / "1")
    (tmp_path / "current").symlink_to("releases/1")
    write_build(NEW, "new", tmp_path / "current")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "releases"]
