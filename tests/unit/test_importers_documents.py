"""Foreign files: several documents, lists, and what is refused before anything is made of it."""

from __future__ import annotations

import pytest

from reliary.importers.documents import MAX_DOCUMENTS, documents


def lines(text: str) -> list[tuple[int, tuple[str, ...]]]:
    return [(found.place.line, found.keys) for found in documents("f.yml", text.encode())[0]]


def faults(text: str) -> list[str]:
    return [f"{problem.place} {problem.code}" for problem in documents("f.yml", text.encode())[1]]


def test_documents_are_read_with_their_places_in_the_file() -> None:
    assert lines("a: 1\n---\n# nothing\n---\nb: 2\nc: 3\n...\n--- {d: 4}\n") == [
        (1, ("a",)),
        (5, ("b", "c")),
        (8, ("d",)),
    ]


def test_lists_give_their_items() -> None:
    assert lines("- a: 1\n- b: 2\n") == [(1, ("a",)), (2, ("b",))]
    assert lines("kind: List\nitems:\n- a: 1\n- b: 2\n") == [(3, ("a",)), (4, ("b",))]


def test_dashes_within_a_text_start_no_document() -> None:
    [found], problems = documents("f.yml", b"query: |\n  ---\n  x\nother: '--- no'\n")
    assert found["query"].text == "---\n  x".replace("  ", "")
    assert problems == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n---\nb: &x [1]\nc: *x\n", ["f.yml:3:4 B106"]),
        ("a: 1\n---\nb:\n\tc: 1\n", ["f.yml:4:1 B109"]),
        ("a: 1\n---\nb: [\n", ["f.yml:3:5 B104"]),
        ("a: 1\n---\nb: 1\nb: 2\n", ["f.yml:4:1 B108"]),
        ("a: 1\n---\nb: !!python/object:os.system 1\n", ["f.yml:3:4 B106"]),
        ("a: 1\n---\n" + "[" * 30, ["f.yml:3:21 B107"]),
        ("a: \0\n", ["f.yml:1:4 B104"]),
    ],
    ids=["anchor", "tab", "bracket", "twice", "tag", "depth", "control"],
)
def test_faults_are_told_with_their_place_in_the_file(text: str, expected: list[str]) -> None:
    assert faults(text) == expected


def test_a_fault_leaves_the_other_documents_alone() -> None:
    assert lines("a: 1\n---\nb: [\n---\nc: 3\n") == [(1, ("a",)), (5, ("c",))]


def test_a_million_documents_are_refused_at_once() -> None:
    assert faults("---\n" * (MAX_DOCUMENTS + 1)) == ["f.yml B105"]
