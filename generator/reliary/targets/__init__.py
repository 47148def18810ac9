"""The same rules and routes for other places than a Prometheus of our own: its operator, Mimir and Thanos.

`target_files` is the one way in. What a target cannot take or express is a problem in its answer, never left out in
silence. See docs/targets.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from reliary.artifacts import File, RuleFile, Site
from reliary.model import Stack
from reliary.problems import Problem

Target: TypeAlias = Literal["prometheus", "operator", "mimir", "thanos"]
TARGETS: tuple[Target, ...] = get_args(Target)


@dataclass(frozen=True, slots=True)
class Targeted:
    """The files of a target, all in a folder of its name, and what it will not take or do as the definitions say."""

    files: tuple[File, ...]
    problems: tuple[Problem, ...] = ()


def target_files(target: Target, stack: Stack, site: Site, release: str, rules: Sequence[RuleFile]) -> Targeted:
    """What a build has more for a target; nothing for `prometheus`, for which it is complete as it is.

    `rules` are all rule files of the stack, any number for each class of objectives.
    """
    from reliary.targets.mimir import mimir_files
    from reliary.targets.operator import operator_files
    from reliary.targets.thanos import thanos_files

    match target:
        case "operator":
            return operator_files(stack, site, release, rules)
        case "mimir":
            return mimir_files(stack, site, rules)
        case "thanos":
            return thanos_files(stack, site, rules)
        case "prometheus":
            return Targeted(())
