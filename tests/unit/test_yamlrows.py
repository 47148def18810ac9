"""The quick way of reading lists of words gives what the slow one gives: values, places, problems, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reliary.definitions import yamltree
from reliary.definitions.schema import DEFINITIONS
from reliary.definitions.shapes import Faults, Located, RowFields
from reliary.definitions.source import Refused, Source, decoded
from reliary.definitions.yamlrows import find_runs
from reliary.definitions.yamltree import Hole, Mapping, Node, Row, Scalar, Sequence, Tree, read_yaml
from reliary.importers.documents import documents

FLOW = "tenants:\n  - {id: acme, name: Acme & Sons (North),   tier: pro}\n  - {id: globex, tier: free, vip: true}\n"
BLOCK = "tenants:\n- id: acme\n  name: Café Zoë\n  tier: pro\n\n- id: globex\n  tier: free\n"


def source(text: str) -> Source:
    return decoded("f.yml", text.encode())


def slowly(text: str) -> Tree:
    """The tree as libyaml's events give it, without any short cut."""
    return yamltree._read_events(source(text))


def seen(node: Node | None) -> Any:
    """Everything that can be asked of a tree, with places."""
    match node:
        case Scalar(text, plain, place):
            return text, plain, place
        case Sequence(items, place):
            return [seen(item) for item in items], place
        case Mapping():
            return {"keys": [(seen(key), seen(value)) for key, value in node.entries], "place": node.place}
        case Hole(place):
            return "hole", place
    return None


def alike(text: str) -> bool:
    try:
        given_ = source(text)
    except Refused:
        return True
    quick, slow = read_yaml(given_), slowly(text)
    return (seen(quick.root), quick.problems, quick.whole) == (seen(slow.root), slow.problems, slow.whole)


def rows(text: str) -> list[Row]:
    """The list items that were read the quick way."""

    def under(node: Node | None) -> list[Row]:
        if isinstance(node, Row):
            return [node]
        if isinstance(node, Sequence):
            return [row for item in node.items for row in under(item)]
        return [row for _, value in node.entries for row in under(value)] if isinstance(node, Mapping) else []

    return under(read_yaml(source(text)).root)


# -- what is read quickly


@pytest.mark.parametrize(
    "text", [FLOW, BLOCK, FLOW.replace("\n", "\r\n"), BLOCK.replace("\n", "\r\n"), BLOCK.strip(), FLOW + "slos: {}\n"]
)
def test_tenants_in_braces_and_in_lines_are_rows(text: str) -> None:
    assert [dict(row.words)["id"] for row in rows(text)] == ["acme", "globex"]
    assert alike(text)


def test_rows_and_other_items_stand_in_one_list() -> None:
    items = ["{id: a, tier: pro}", "{id: b, tier: pro, objectives: {x: 99}}", "{id: 'c', tier: pro}", "{id: d}", "e"]
    text = "".join(f"- {item}\n" for item in items)
    assert len(rows(text)) == 2
    assert alike(text)


def test_a_run_costs_libyaml_one_value() -> None:
    runs = find_runs(FLOW, FLOW.splitlines())
    assert runs.text == "tenants:\n  - 0\n\n"
    assert [len(run) for run in runs.items.values()] == [2]


def test_a_row_of_a_later_document_has_its_place_in_the_file() -> None:
    objects, _ = documents("f.yml", b"a: 1\n---\n- {kind: SLO, name: a}\n")
    row = objects[-1].node
    assert isinstance(row, Row)
    assert (row.place.line, row.place.column, row.place.text) == (3, 3, "- {kind: SLO, name: a}")


# -- what only looks like it

CONTEXTS = {
    "a literal text": "a: |\n  - {id: a}\n  - {id: b}\nb: 1\n",
    "a folded text": "a: >\n  - {id: a}\n  - {id: b}\n",
    "a text in quotes": 'a: "x\n  - {id: a}\n  "\n',
    "a text in single quotes": "a: 'x\n\n  - {id: a}\n  '\n",
    "a text without quotes": "a: x\n  - {id: a}\n",
    "a text that a placeholder would continue": "- 0\n  - {id: a}\n",
    "a list in brackets": "a: [\n  - {id: a}\n  ]\n",
    "a comment": "a:\n  # - {id: a}\n  - {id: b}\n",
    "a line that goes on": "- {id: a}\n  more\n- {id: b}\n",
    "an item that goes on": "- id: a\n  tier: b\n  budget:\n    warn: 1\n- id: c\n",
    "a value that goes on": "- id: a\n  tier: b\n    c\n- id: d\n",
    "an item that goes on behind a comment": "- id: a\n# here\n  tier: b\n- id: c\n",
    "a key of its own": "? - {id: a}\n: - {id: b}\n",
    "the value of a key": "- {id: a}\n: b\n",
    "a second document": "- {id: a}\n---\n- {id: b}\n",
    "the end of a document": "- {id: a}\n...\n- {id: b}\n",
    "a directive": "- {id: a}\n%YAML 1.1\n",
    "an anchor": "- &x\n  - {id: a}\n- *x\n",
    "a tag": "- !x\n  - {id: a}\n",
    "a tag on the list": "a: !x\n  - {id: a}\nb: !!seq\n- {id: b}\n",
    "a key twice": "- {id: a, id: b}\n- {id: c}\n- id: d\n  id: e\n",
    "a tab": "- {id: a}\n\t\n- {id: b}\n",
    "a tab behind an item in lines": "- id: a\n  tier: b\n \t\n- id: c\n",
    "a tab in front": "\t- {id: a}\n",
    "other indentation": "a:\n    - {id: a}\n  - {id: b}\n",
    "less indentation": "a:\n  - {id: a}\n - {id: b}\n",
    "more indentation": "a:\n  - {id: a}\n    - {id: b}\n",
    "lists in lists": "- - {id: a}\n  - {id: b}\n-\n  - {id: c}\n- {id: d}\n",
    "two keys on the line": "- id: a tier: b\n- {id: a tier: b}\n",
    "ends of lines that YAML keeps": "a: |\n  x\u2028  - {id: a}\nb:\n  - {id: b}\n",
    "ends of lines of old machines": "a: |\r  x\x85b:\r- {id: b}\x85- {id: c}",
    "a text at the end": "- {id: a}\nb: |+\n  x\n\n",
    "no end of the last line": "a: |\n  - {id: a}\nb:\n- {id: c}",
    "nulls": "- {id: null, tier: true}\n- id: Null\n",
    "a key that is too long for libyaml": f"- {{{'a' * 2000}: b}}\n- {'b' * 2000}: c\n",
}


@pytest.mark.parametrize("text", CONTEXTS.values(), ids=CONTEXTS.keys())
def test_in_any_place_the_quick_way_says_what_the_slow_way_says(text: str) -> None:
    assert alike(text)


LINES = st.sampled_from(
    [
        *("tenants:", "a: b", "  - {id: a, tier: b}", "  - {id: c}", "- {id: d, name: E f}", "- id: g", "  tier: h"),
        *("  - id: i", "    tier: j k", "    tier: 'l'", "    objectives: {m: 9}", "    budget:", "      warn: 1"),
        *("", "  ", "\t", "  \t", " \t# n", "# o", "  # p", "    # q", "  text: |", "  text: >-", "a: |", "- |", "- >"),
        *(
            'a: "',
            '"',
            "'",
            "a: '",
            "- [",
            "[",
            "]",
            "{",
            "}",
            ",",
            "? ",
            "?",
            ": r",
            "  : s",
            "- - {id: t}",
            "-",
            "  -",
        ),
        *(
            "...",
            "---",
            "%YAML 1.1",
            "    more",
            "  more",
            "more",
            "- &u {id: v}",
            "- &w",
            "  *w",
            "- !x",
            "  !y",
            "- 0",
        ),
        *("  - 0", "  - a: b: c", "- {id: z, id: z}", "  - {id: null}", "- {a b: c}", "- {a: b", "- a: b}", "  }"),
        *(
            "- {vip: true,tier: x }",
            "-  {id: a}",
            "- { id: a}",
            " - {id: a}",
            "- id:  a",
            "- id: a #b",
            "- é: b",
            "- a: é",
        ),
    ]
)
BREAKS = st.sampled_from(["\n"] * 12 + ["\r\n", "\r", "\x85", "\u2028", "\u2029"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    lines = draw(st.lists(st.tuples(LINES, BREAKS), max_size=14))
    text = "".join(line + end for line, end in lines)
    return text[:-1] if draw(st.booleans()) else text


@settings(max_examples=400, deadline=None)
@given(texts())
def test_whatever_the_lines_are_the_quick_way_says_what_the_slow_way_says(text: str) -> None:
    assert alike(text)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([FLOW, BLOCK]),
    st.integers(0, 120),
    st.integers(0, 2),
    st.text("-{}: ,\n\t'\"|>#&*!?0a[]", max_size=3),
)
def test_whatever_is_typed_into_tenants_the_quick_way_says_what_the_slow_way_says(
    text: str, at: int, removed: int, typed: str
) -> None:
    assert alike(text[:at] + typed + text[at + removed :])


# -- limits


def test_rows_count_as_the_values_that_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    values = 3 + 7 + 7  # the root, its key and the list; an item, its three keys and three words, twice
    monkeypatch.setattr(yamltree, "MAX_VALUES", values)
    assert not read_yaml(source(FLOW)).problems
    monkeypatch.setattr(yamltree, "MAX_VALUES", values - 1)
    (problem,) = read_yaml(source(FLOW)).problems
    assert (problem.code, problem.place.line) == ("B105", 3)
    assert alike(FLOW)


@pytest.mark.parametrize("depth", range(3))
def test_rows_are_not_nested_deeper_than_other_values(monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    monkeypatch.setattr(yamltree, "MAX_DEPTH", depth + 1)
    assert alike(FLOW)
    assert alike(BLOCK)


# -- what the shapes make of rows

TENANTS = st.lists(
    st.dictionaries(
        st.sampled_from(["id", "tier", "name", "vip", "teir", "objectives", "budget"]),
        st.sampled_from(["acme", "true", "yes", "null", "99.9", "Acme", "a..b", "a b", "pro", "~x", "x" * 130, "ü"]),
        min_size=1,
    ),
    min_size=1,
    max_size=4,
)


def read(tree: Tree) -> tuple[Any, Faults]:
    faults = Faults()
    assert tree.root is not None
    return DEFINITIONS.read(tree.root, faults), faults


def fields(read_: Located[Any]) -> Any:
    """Everything that can be asked of tenants."""
    items = read_.value.items("tenants", object)
    keys = ("id", "tier", "name", "vip", "objectives", "budget")
    return [
        (
            *(item.value.maybe(key, object) for key in keys[:4]),
            [(item.value.has(key), item.value.at(key)) for key in keys],
            (item.place, item.value.place, item.value.whole, item.value.faulty),
            (dict(item.value.values), dict(item.value.places)),
            (item.value.entries("objectives", object), item.value.items("objectives", object)),
        )
        for item in items
    ]


@settings(deadline=None)
@given(TENANTS, st.booleans())
def test_a_faulty_row_gets_the_report_that_it_always_got(tenants: list[dict[str, str]], braces: bool) -> None:
    between, begin, end = (", ", "{", "}") if braces else ("\n  ", "", "")
    items = [f"- {begin}{between.join(f'{key}: {value}' for key, value in row.items())}{end}\n" for row in tenants]
    text = "tenants:\n" + "".join(items)
    (quick, quickly), (slow, slowly_) = read(read_yaml(source(text))), read(slowly(text))
    assert quickly.problems == slowly_.problems
    assert quickly.count == slowly_.count
    assert fields(quick) == fields(slow)
    assert (quick.value.whole, quick.value.faulty) == (slow.value.whole, slow.value.faulty)


def test_a_row_without_a_fault_is_not_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    found, faults = read(read_yaml(source(FLOW)))
    monkeypatch.setattr(Row, "mapping", lambda row: pytest.fail("read event by event"))
    acme, globex = (item.value for item in found.value.items("tenants", object))
    assert not faults.problems
    assert isinstance(acme, RowFields)
    assert [acme.get(key, str) for key in ("id", "name", "tier")] == ["acme", "Acme & Sons (North)", "pro"]
    assert globex.get("vip", bool) is True
    assert not acme.has("vip")
    assert acme.whole


def test_the_words_of_a_row_are_those_that_other_readers_see() -> None:
    for text in (FLOW, BLOCK):
        assert [dict(row.words) for row in rows(text)] == yaml.load(text, Loader=yaml.BaseLoader)["tenants"]
