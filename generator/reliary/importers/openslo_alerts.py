"""Alert policies and conditions of OpenSLO: each condition on a burn rate becomes a row of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from reliary.importers import found as harvesting
from reliary.importers.documents import Cursor
from reliary.importers.found import Alerts, Change, Window
from reliary.importers.openslo_objects import Objects
from reliary.model import BurnSeverity, BurnTier
from reliary.names import duration
from reliary.windows import KEEP_FIRING_SECONDS

_PAGES = {"page", "critical", "high", "p1", "sev1", "1"}
_TICKETS = {"ticket", "warning", "medium", "low", "p2", "p3", "sev2", "sev3", "2", "3"}


def alerts(run: Objects, name: str, spec: Cursor, window: Window) -> tuple[Alerts, list[Change]]:
    """The alerts that the policies of an SLO describe, with what changed; none without policies, as it was."""
    policies = spec["alertPolicies"].items()
    if not policies:
        text = "no alert policy, so no alert: remove `alerts: none` for page and ticket by burn rate."
        return Alerts(off=True), [Change("alerts", text)]
    rows: list[BurnTier] = []
    changes: list[Change] = []
    for condition, policy in _conditions(run, name, policies):
        if policy["alertWhenNoData"].flag:
            text = (
                "alertWhenNoData is not carried over: a tenant without data has the state `no data`, which shows and "
            )
            changes.append(Change("alerts", text + "does not page."))
        row = _row(run, name, condition, window, rows)
        if row is not None:
            rows.append(row)
    if not rows:
        text = "none of its alert policies could be imported; it has our page and ticket by burn rate in their place."
        return Alerts(), [*changes, Change("alerts", text)]
    shown = ", ".join(f"{duration(row.long_seconds)} with {duration(row.short_seconds)}" for row in rows)
    text = f"each condition has a second, short window (a twelfth: {shown}): the alert ends soon after the errors do."
    return Alerts(rows=tuple(rows)), [*changes, Change("alerts", text)]


def _conditions(run: Objects, name: str, policies: Sequence[Cursor]) -> Iterator[tuple[Cursor, Cursor]]:
    """The specs of conditions with those of their policies, whether they are written or named."""
    for policy in policies:
        reference = policy["alertPolicyRef"] or (policy if policy.text else policy["alertPolicyRef"])
        whole = run.lookup("AlertPolicy", reference.text, reference, name) if reference else policy
        for condition in whole["spec"]["conditions"].items():
            named = condition["conditionRef"]
            found = run.lookup("AlertCondition", named.text, named, name) if named else condition
            if found:
                yield found["spec"], whole["spec"]


def _row(run: Objects, name: str, spec: Cursor, window: Window, others: Sequence[BurnTier]) -> BurnTier | None:
    condition = spec["condition"]
    long, after = (harvesting.seconds_of(condition[key].text) or 0 for key in ("lookbackWindow", "alertAfter"))
    factor, severity = harvesting.decimal(condition["threshold"].text), spec["severity"].text.lower()
    why = ""
    if condition["kind"].text.lower() != "burnrate":
        why = f"a condition of kind `{condition['kind'].text[:40]}`"
    elif condition["op"].text not in ("", "gt", "gte"):
        why = f"the operator `{condition['op'].text[:10]}`: a burn rate alerts when it is high"
    elif factor is None or not Decimal("0.01") <= factor <= 100_000:
        why = f"a threshold of `{condition['threshold'].text[:40]}`"
    elif not 360 <= long <= harvesting.window_seconds(window):
        why = f"a lookbackWindow of `{condition['lookbackWindow'].text[:40]}` (6m up to the SLO's own window will do)"
    elif any(row.long_seconds == long for row in others):
        why = f"a second condition over {duration(long)}: alerts are told apart by it"
    elif severity not in _PAGES | _TICKETS:
        why = f"the severity `{severity[:40]}` (page and ticket, or words such as critical and warning)"
    if why or factor is None:
        run.harvest.refuse("I108", condition.place, f"{name}: {why}.", "Write `alerts` with rows of your own.")
        return None
    kind: BurnSeverity = "page" if severity in _PAGES else "ticket"
    short = max(300, round(long / 12 / 60) * 60)
    return BurnTier(kind, long, short, Decimal(0), factor, after, KEEP_FIRING_SECONDS[kind])
