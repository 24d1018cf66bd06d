"""The folder `shared` beside the checkout: real text, too large to be a part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
DATA = SHARED / "data"


def needs(folder: Path) -> pytest.MarkDecorator:
    """Skip the test, or the file of tests, if the folder is not there."""
    return pytest.mark.skipif(not folder.is_dir(), reason=f"needs the files of {folder}")
