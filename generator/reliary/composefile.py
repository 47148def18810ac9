"""docker-compose.yml."""

from __future__ import annotations

from reliary.artifacts import File, Site
from reliary.model import Stack


def compose_files(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    return ()
