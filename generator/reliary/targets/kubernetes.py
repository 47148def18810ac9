"""Kubernetes objects as values: names that it accepts, labels to select them by, and the size that it stores."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, TypeAlias

from reliary.artifacts import File
from reliary.model import Stack
from reliary.yamltext import to_yaml

Object: TypeAlias = dict[str, Any]

NAME_CHARACTERS = 63
"""Longest name of an object that can also be the value of a label (RFC 1123)."""

OBJECT_BYTES = 240_000
"""Largest object that we write. etcd takes 1 MiB and the operator 512 KiB of rules, but `kubectl apply` keeps a copy of
the object as JSON in an annotation, and annotations end at 256 KiB."""

RELEASE = "reliary-release"


def kubernetes_name(*words: str) -> str:
    """A name from words. What Kubernetes does not allow becomes `-`, with a digest so that two names stay two."""
    text = "-".join(words)
    name = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
    if name == text and len(name) <= NAME_CHARACTERS:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name[: NAME_CHARACTERS - 9].rstrip('-') or 'x'}-{digest}"


def managed(stack: Stack) -> dict[str, str]:
    """The labels of all objects of a stack: what selectors of the operator can go by."""
    return {
        "app.kubernetes.io/managed-by": "reliary",
        "app.kubernetes.io/part-of": kubernetes_name(stack.name),
    }


def kubernetes_object(stack: Stack, release: str, version: str, kind: str, name: str, spec: Object) -> Object:
    """An object of the group `monitoring.coreos.com`. The release is an annotation: labels end at 63 characters."""
    metadata = {"name": name, "labels": managed(stack), "annotations": {RELEASE: release}}
    return {"apiVersion": f"monitoring.coreos.com/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def object_file(path: str, value: Object, about: str) -> File:
    """The object as a file in `operator/`."""
    return File(f"operator/{path}.yaml", to_yaml(value, about))


def stored_bytes(value: Any) -> int:
    """Bytes of a value as JSON, which is what limits are about."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
