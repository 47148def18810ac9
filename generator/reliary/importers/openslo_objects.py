"""Objects of OpenSLO that others refer to: a reference may point into another file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from reliary.importers.documents import Cursor
from reliary.importers.found import Harvest

_VERSION = re.compile(r"openslo(?:\.com)?/(v1alpha|v1|v2alpha)")
_KINDS = ("SLI", "AlertPolicy", "AlertCondition", "DataSource", "Service", "AlertNotificationTarget")


@dataclass(slots=True)
class Objects:
    """All files together: a reference may point into another one."""

    harvest: Harvest = field(default_factory=Harvest)
    named: dict[tuple[str, str], Cursor] = field(default_factory=dict)

    def lookup(self, kind: str, name: str, at: Cursor, who: str) -> Cursor:
        """The object of that kind and name; where there is none, a problem is added and nothing is there."""
        known = self.named.get((kind, name))
        if known is None:
            message = f"{who}: there is no {kind} `{name[:80]}` in these files."
            self.harvest.refuse("I109", at.place, message, "Import it together with the file that defines it.")
            return Cursor(None, at.place)
        return known

    def take(self, each: Cursor) -> bool:
        """True for an SLO. Objects that others refer to are kept, anything else is refused."""
        version, kind, name = each["apiVersion"].text, each["kind"].text, each["metadata"]["name"].text
        if not _VERSION.fullmatch(version):
            what = f"{version} {kind}".strip()[:80] or "an object without a version"
            advice = "openslo/v1alpha, openslo/v1 and openslo.com/v2alpha can be imported; try another importer."
            self.harvest.refuse("I102", each.place, f"{what} is not a version of OpenSLO that is read.", advice)
            return False
        if kind == "SLO":
            return True
        if kind not in _KINDS:
            self.harvest.refuse("I102", each.place, f"OpenSLO's kind `{kind[:80]}` is not read.", "Leave it out.")
        elif (kind, name) in self.named:
            self.harvest.refuse("I109", each.place, f"{kind} `{name}` is defined twice.", "Keep one of the two.")
        else:
            self.named[kind, name] = each
        return False
