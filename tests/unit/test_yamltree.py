"""YAML and its surprises: what stays text, where each value stands, what is refused and in which words."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reliary.definitions.source import MAX_BYTES, Refused, decoded
from reliary.definitions.yamltree import (
    MAX_DEPTH,
    MAX_VALUES,
    Hole,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Tree,
    parse,
    read_yaml,
)
from reliary.problems import Problem, as_text

PRINTABLE = st.characters(
    codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff\ufffe\uffff"
)


def read(text: str) -> Tree:
    return read_yaml(decoded("f.yml", text.encode()))


def plain(node: Node | None) -> object:
    """The tree as Python values, all text."""
    match node:
        case Scalar(text):
            return text
        case Sequence(items):
            return [plain(item) for item in items]
        case Mapping(entries):
            return {key.text: plain(value) for key, value in entries}
    return node


def value(text: str) -> Scalar:
    root = read(text).root
    assert isinstance(root, Mapping)
    scalar = root.entries[0][1]
    assert isinstance(scalar, Scalar)
    return scalar


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "007", "0o17", "1e3", "0x1F", "1_000", "12:30:45", "2024-01-01", "99.90", ".inf"]
)
def test_a_value_stays_the_text_that_was_written(word: str) -> None:
    assert value(f"a: {word}").text == word


@pytest.mark.parametrize("word", ["", "~", "null", "Null", "NULL"])
def test_nothing_is_nothing_unless_it_is_quoted(word: str) -> None:
    assert value(f"a: {word}").is_null
    assert not value(f"a: '{word}'").is_null
    assert not value(f'a: "{word}"').is_null


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null", "~\n", "\ufeff"])
def test_a_file_without_a_value_has_no_root_and_no_problem(text: str) -> None:
    assert read(text) == Tree(None, ())


def test_places_count_lines_and_columns_from_one() -> None:
    root = read("a:\n  - {b: 'x y'}\n").root
    assert isinstance(root, Mapping)
    items = root.entries[0][1]
    assert isinstance(items, Sequence)
    item = items.items[0]
    assert isinstance(item, Mapping)
    key, value = item.entries[0]
    assert (key.place.line, key.place.column, key.place.width) == (2, 6, 1)
    assert (value.place.line, value.place.column, value.place.width) == (2, 9, 5)
    assert value.place.text == "  - {b: 'x y'}"


def test_a_block_stands_where_its_key_does_and_braces_where_they_open() -> None:
    root = read("a:\n  b: 1\nc: {d: 1}\ne:\n- 1\n").root
    assert isinstance(root, Mapping)
    assert [(value.place.line, value.place.column) for _, value in root.entries] == [(1, 1), (3, 4), (4, 1)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_lines_end_where_yaml_ends_them(end: str) -> None:
    root = read(f"a: 1{end}b: 2{end}").root
    assert isinstance(root, Mapping)
    place = root.entries[1][1].place
    assert (place.line, place.column, place.text) == (2, 4, "b: 2")


@given(st.dictionaries(st.text(PRINTABLE, min_size=1), st.text(PRINTABLE), min_size=1, max_size=4))
def test_text_comes_through_unchanged(values: dict[str, str]) -> None:
    assert plain(read(yaml.safe_dump(values, allow_unicode=True, default_style='"')).root) == values


@given(
    st.recursive(
        st.text(PRINTABLE, max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner),
        max_leaves=20,
    )
)
def test_a_tree_has_the_values_that_yaml_has(values: object) -> None:
    if isinstance(values, (list, dict)):
        assert plain(read(yaml.safe_dump(values, default_flow_style=None)).root) == yaml.safe_load(
            yaml.safe_dump(values)
        )


# -- what is reported, and reading goes on


def test_a_key_given_twice_keeps_the_first_and_goes_on() -> None:
    tree = read("a: 1\nb: 2\na: 3\nb: 4\n")
    assert plain(tree.root) == {"a": "1", "b": "2"}
    assert [(problem.code, problem.place.line) for problem in tree.problems] == [("B108", 3), ("B108", 4)]
    assert tree.whole


def test_an_anchor_is_reported_once_and_its_aliases_are_holes() -> None:
    tree = read("a: &x 1\nb: *x\nc: [*x, *y]\nd: 2\n")
    assert [(problem.code, problem.place.line) for problem in tree.problems] == [("B106", 1), ("B106", 3)]
    assert isinstance(tree.root, Mapping)
    assert [type(value) for _, value in tree.root.entries] == [Scalar, Hole, Sequence, Scalar]


@pytest.mark.parametrize(
    "tagged", ["!!python/object/apply:os.system [ls]", "!!str x", "!x {a: 1}", "!<tag:x> y", "!!binary aGk="]
)
def test_what_has_a_tag_is_a_hole(tagged: str) -> None:
    tree = read(f"a: {tagged}\nb: 1\n")
    assert [problem.code for problem in tree.problems] == ["B106"]
    assert isinstance(tree.root, Mapping)
    assert [type(value) for _, value in tree.root.entries] == [Hole, Scalar]


def test_a_bomb_is_as_small_as_its_text() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join(['*' + old] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    tree = read("\n".join(lines))
    assert [problem.code for problem in tree.problems] == ["B106"] * 9
    assert isinstance(tree.root, Mapping)
    assert len(tree.root.entries) == 9


@pytest.mark.parametrize("key", ["? [a]\n: 1", "? {a: 1}\n: 1"])
def test_a_key_must_be_a_word(key: str) -> None:
    assert [problem.code for problem in read(key).problems] == ["B104"]


# -- where reading stops


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: {b: c", "B104", 1, 9),
        ("a: [b\nc: d\n", "B104", 2, 2),
        ("a: 'b\nc: d\n", "B104", 1, 4),
        ("a: @x", "B104", 1, 4),
        ('a: "\\d"', "B104", 1, 5),
        ("a: b: c", "B104", 1, 5),
        ("a:\n - b\n c: d", "B104", 3, 2),
        ("a: - b", "B104", 1, 4),
        ("a: 1\n---\nb: 2", "B104", 2, 1),
        ("%YAML 3.0\n---\na: b", "B104", 1, 1),
        ("\ta: b", "B109", 1, 1),
        ("a:\n  b: 1\n \tc: 2", "B109", 3, 2),
        ("a: b\n\tc: d", "B109", 2, 1),
        ("a: " + "[" * (MAX_DEPTH + 1), "B107", 1, 3 + MAX_DEPTH),
        ("a: " + "{b: " * 30, "B107", 1, None),
    ],
)
def test_text_that_is_not_yaml(text: str, code: str, line: int, column: int | None) -> None:
    tree = read(text)
    assert tree.root is None
    assert not tree.whole
    assert len(tree.problems) == 1
    place = tree.problems[0].place
    assert (tree.problems[0].code, place.line) == (code, line)
    assert column in (None, place.column)


def test_a_tab_in_a_value_or_a_comment_is_fine() -> None:
    assert plain(read("a:\t1\t# a\tcomment\nb: 'x\ty'\n").root) == {"a": "1", "b": "x\ty"}


def test_a_tab_elsewhere_is_not_blamed_for_another_fault() -> None:
    assert [problem.code for problem in read("a: 'x\ty'\nb: [1\n").problems] == ["B104"]


def test_problems_before_the_end_are_not_lost() -> None:
    assert [problem.code for problem in read("a: 1\na: 2\nb: &c 1\nd: [\n").problems] == ["B106", "B104"]


def test_depth_up_to_the_limit_is_read() -> None:
    depth = MAX_DEPTH - 1
    assert read("a: " + "[" * depth + "x" + "]" * depth).whole


def test_too_many_values_are_refused() -> None:
    tree = read("[" + "1," * MAX_VALUES + "1]")
    assert [problem.code for problem in tree.problems] == ["B105"]
    assert not tree.whole


# -- bytes


def refused(raw: bytes, size: int | None = None) -> tuple[str, int, int]:
    with pytest.raises(Refused) as caught:
        decoded("f.yml", raw, size)
    problem = caught.value.problem
    assert as_text([problem]).replace("\n", "").isprintable()
    return problem.code, problem.place.line, problem.place.column


def test_the_size_has_a_limit() -> None:
    assert refused(b"", MAX_BYTES + 1) == ("B105", 0, 0)
    assert refused(b" " * (MAX_BYTES + 1)) == ("B105", 0, 0)
    assert decoded("f.yml", b"a", MAX_BYTES).text == "a"


def test_bytes_that_are_not_utf_8_have_a_place() -> None:
    assert refused("a: b\nc: é\n".encode("latin-1")) == ("B103", 2, 4)
    assert refused(b"\xef\xbb\xbfa: \xff\n") == ("B103", 1, 4)
    assert refused("a: b".encode("utf-16")) == ("B103", 1, 1)


@pytest.mark.parametrize(
    "char", ["\x00", "\x07", "\x0b", "\x0c", "\x1b", "\x1c", "\x7f", "\x80", "\x9b", "\ufeff", "\ufffe"]
)
def test_characters_that_have_no_place_in_a_definition(char: str) -> None:
    assert refused(f"a: b\r\nc: é{char}d\n".encode()) == ("B104", 2, 5)
    assert refused(f"{char}a: b\n".encode().replace(b"\xef\xbb\xbf", b"\xef\xbb\xbf" * 2)) == ("B104", 1, 1)


def test_a_byte_order_mark_is_skipped() -> None:
    assert decoded("f.yml", b"\xef\xbb\xbfa: b").text == "a: b"


def test_files_of_ours_are_refused_at_any_problem() -> None:
    assert plain(parse("f.yml", b"a: 1")) == {"a": "1"}
    for raw in (b"a: 1\na: 2", b"a: *b", b"a: [", b"\xff"):
        with pytest.raises(Refused):
            parse("f.yml", raw)


# -- anything at all


YAMLISH = st.lists(
    st.sampled_from(
        [
            *"[]{},:-?&*!|>'\"%@`#~ \t\n",
            "a",
            "- ",
            ": ",
            "\n  ",
            "<<: ",
            "---\n",
            "...",
            "&a ",
            "*a",
            "!!x ",
            "null",
            "\\x",
            "é",
            "🚀",
        ]
    ),
    max_size=40,
).map("".join)


def found(raw: bytes) -> tuple[Problem, ...]:
    try:
        tree = read_yaml(decoded("f.yml", raw))
    except Refused as refused:
        return (refused.problem,)
    assert tree.whole or (tree.problems and tree.root is None)
    return tree.problems


@given(st.binary(max_size=200) | YAMLISH.map(str.encode))
def test_nothing_makes_the_reader_raise_anything_else(raw: bytes) -> None:
    assert as_text(found(raw)).replace("\n", "").isprintable()


@given(YAMLISH)
def test_what_libyaml_refuses_is_refused(text: str) -> None:
    """And what the two read, they read alike, but for anchors, tags, nulls and keys given twice."""
    try:
        expected = yaml.load(text, getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except yaml.YAMLError:
        assert found(text.encode())
        return
    tree = read(text)
    if not tree.problems and tree.root is not None:
        assert plain(tree.root) == expected
