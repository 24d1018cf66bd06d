from __future__ import annotations

from typing import Any

import pytest

from lightning_modules.machine.file import write_json
from lightning_modules.model.files.config import read_config
from lightning_modules.model.files.fault import Fault


@pytest.mark.parametrize("number", ["3", -1, 1.5, True])
def test_the_number_of_labels_is_one(here: Any, number: Any) -> None:
    write_json(here / "config.json", {"model_type": "bert", "num_labels": number})
    with pytest.raises(Fault, match="must have a whole number >= 0 as num_labels, got"):
        read_config(here)
