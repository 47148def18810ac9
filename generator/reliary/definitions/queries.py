"""The PromQL of definitions: what can be put into a rule and still mean what was written."""

from __future__ import annotations

import re

from reliary import promql
from reliary.definitions.root import Root
from reliary.definitions.shapes import Fields
from reliary.model import Events, Query, Selector
from reliary.problems import Place

_STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`')
_WINDOW_IN_PLACE = re.compile(r"\[ *\{window\} *(?::[^]\[{}]*)?\]|\boffset +\{window\}")
_TRY = "Try the expression in Prometheus first."


def events(root: Root, row: Fields, key: str) -> Events | None:
    """What a key says is counted: a counter, or a query over `{window}`."""
    if promql.WINDOW in row.get(key, str):
        return _query(root, row.get(key, str).strip(), row.at(key))
    query = f"or events per tenant: sum by ({root.tenant_label}) (increase(x_total[{{window}}]))"
    return _selector(
        root, row, key, "neither a plain counter nor a query over `{window}`", f"Write the counter alone, {query}."
    )


def counter(root: Root, row: Fields, key: str) -> Selector | None:
    """What a key says is counted, where only a counter will do."""
    return _selector(root, row, key, "not a plain counter", "Write the counter alone, with matchers or without.")


def histogram(root: Root, row: Fields) -> Selector | None:
    """The histogram of a latency SLO, by the name that its three series share."""
    selector, place = _selector(root, row, "histogram", "not a histogram", "Write its name alone."), row.at("histogram")
    if selector is None:
        return None
    name = promql.metric_name(selector.text)
    shared = re.sub("_(bucket|count|sum)$", "", name)
    if shared != name:
        root.faults.add("B122", place, f"`{name}` is one series of a histogram.", f"Write its name: {shared}.")
        return None
    if "le" in _matched_labels(selector.text):
        root.faults.add("B122", place, "the label `le` is what `within` chooses.", "Remove the matcher on `le`.")
        return None
    return selector


def _selector(root: Root, row: Fields, key: str, wrong: str, advice: str) -> Selector | None:
    text, place = row.get(key, str).strip(), row.at(key)
    if not _parses(root, text, text, place):
        return None
    if not promql.is_selector(text):
        root.faults.add("B122", place, f"this is {wrong}.", advice)
        return None
    if root.tenant_label in _matched_labels(text, equal=True):
        message = f"the matcher on `{root.tenant_label}` leaves one tenant; all are counted at once here."
        root.faults.add("B123", place, message, "Remove the matcher.")
        return None
    return Selector(text)


def _query(root: Root, text: str, place: Place) -> Query | None:
    if promql.WINDOW in _WINDOW_IN_PLACE.sub("", text):
        message = "`{window}` stands for a duration and has its place in brackets."
        root.faults.add("B122", place, message, "Write it as in increase(x_total[{window}]).")
        return None
    tried = text.replace(promql.WINDOW, "5m")
    # As it will stand in a rule: that refuses a range or a number too, which are valid alone.
    if not _parses(root, tried, promql.sum_by([root.tenant_label], tried), place):
        return None
    return Query(text) if _tells_tenants_apart(root, tried, place) else None


def _tells_tenants_apart(root: Root, query: str, place: Place) -> bool:
    """False after a problem. Says nothing where the tenant label cannot be read."""
    label = root.tenant_label
    try:
        if not root.readable("tenant_label") or promql.keeps_label(query, label):
            return True
    except RecursionError:
        root.faults.add("B122", place, "the query is nested too deep to be followed.", "Record a part of it first.")
        return False
    message = f"the query loses the label `{label}`, so it cannot tell tenants apart."
    root.faults.add("B123", place, message, f"Aggregate `by ({label})`, and match `on ({label})`.")
    return False


def _parses(root: Root, text: str, in_a_rule: str, place: Place) -> bool:
    """False after a problem: the parser takes more than the Prometheus that we ship, and a rule less than a query."""
    bare = _STRING.sub('""', text)
    if "#" in bare:
        message = "PromQL in definitions has no comments: rules are built around it."
        root.faults.add("B122", place, message, "Write the comment behind a `#` in YAML.")
        return False
    fault = promql.syntax_problem(text) or promql.syntax_problem(in_a_rule)
    if fault is None and re.search(r"\{[^{}]*\bor\b[^{}]*\}", bare):
        fault = "`or` between matchers is not known to this Prometheus"
    if fault is None and re.search(r'""\s*[=!]', bare):
        fault = "names of labels in quotes are not known to this Prometheus"
    if fault is not None:
        root.faults.add("B122", place, f"not valid PromQL: {fault}.", _TRY)
    return fault is None


def _matched_labels(selector: str, *, equal: bool = False) -> set[str]:
    """The labels that a valid selector has matchers on; only those with `=` where `equal`."""
    bare = _STRING.sub('""', selector)
    operator = "=(?!~)" if equal else "(?:=~?|!=|!~)"
    return set(re.findall(rf"[{{,]\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*{operator}", bare))


def gauge(root: Root, row: Fields, key: str) -> Selector | None:
    """What a key says is up or down."""
    return _selector(root, row, key, "not a plain gauge", "Write the gauge alone, with matchers or without.")


def share(root: Root, row: Fields, key: str) -> Query | None:
    """A query over `{window}` that gives a share for each tenant."""
    text, place = row.get(key, str).strip(), row.at(key)
    if promql.WINDOW not in text:
        message = "a share needs the window that it is taken over."
        advice = f"Write it as in: 1 - avg by ({root.tenant_label}) (avg_over_time(x_ratio[{{window}}]))."
        root.faults.add("B122", place, message, advice)
        return None
    return _query(root, text, place)
