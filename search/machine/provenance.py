"""Where a result comes from: versions, commit, seed, data."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import Any

PROVENANCE_FILE = "provenance.json"

PACKAGES = (
    "finesweep",
    "torch",
    "pytorch-lightning",
    "transformers",
    "datasets",
    "peft",
    "optuna",
    "hydra-core",
    "wandb",
    "tokenizers",
)


def provenance(seed: int, data_fingerprint: str) -> dict[str, Any]:
    """Return versions, machine, git commit of the working folder, seed and data fingerprint."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changed": bool(_git("status", "--porcelain")),
        "seed": seed,
        "data_sha256": data_fingerprint,
        "command": sys.argv[1:],
    }


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # 0.02 s, which --help saves

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
