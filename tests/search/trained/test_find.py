"""Studies and runs by their names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from search.trained.find import find_folder
from tests.search.report.synthetic import study_of


def test_a_folder_without_its_study_is_not_its_own_advice(here: Path) -> None:
    """E.g. a copy of another study's folder: the database has that study's name."""
    shutil.copytree(study_of(here, "mine", ["complete"]).folder, here / "studies" / "mine2")
    with pytest.raises(ConfigError) as refused:
        find_folder("mine2")
    line = "study: must be a study in studies/, got 'mine2'. Did you mean mine?"
    assert str(refused.value) == line
