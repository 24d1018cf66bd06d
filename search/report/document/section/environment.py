"""Where the results come from: versions, machine, commit, seed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from search.report.document.block import Block, Code, Facts, Fold, Section, Table
from search.report.overview import Overview


def environment(overview: Overview) -> Section | None:
    """Return the environment; None if it was not stored."""
    blocks = list(_blocks(overview))
    return Section("environment", "Environment", blocks) if blocks else None


def _blocks(overview: Overview) -> Iterator[Block]:
    stored = overview.provenance
    if overview.words:
        named = [f"study={overview.name}", *(w for w in overview.words if w[:6] != "study=")]
        yield Code("The study's command", shlex.join(["finesweep", "sweep", *named]))
    facts = {
        "Winner trained on": overview.hardware,
        "Python": stored.get("python"),
        "Platform": stored.get("platform"),
        "Git commit": stored.get("git_commit"),
        "Uncommitted changes": {True: "yes", False: "no"}.get(stored.get("git_changed", "")),
        "Seed": stored.get("seed"),
        "Data (SHA-256)": stored.get("data_sha256"),
    }
    known = [(name, str(value)) for name, value in facts.items() if value is not None]
    if known:
        yield Facts(known)
    packages = stored.get("packages", {})
    if packages:
        rows = [[name, version or "not installed"] for name, version in packages.items()]
        yield Fold("Versions", [Table("Versions", ["package", "version"], rows)])
