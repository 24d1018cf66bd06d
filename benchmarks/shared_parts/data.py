"""The texts that benchmarks read if they are there."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def is_there(folder: Path) -> bool:
    """Return whether a folder of texts is there; say that nothing is measured if not."""
    if not folder.is_dir():
        print(f"{folder} is not there: nothing measured")
    return folder.is_dir()
