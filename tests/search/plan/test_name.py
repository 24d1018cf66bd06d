from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError
from search.plan.name import plain_name
from search.storage.location import folder_name


@pytest.mark.parametrize("name", [None, "", [], {}], ids=repr)
def test_a_missing_name_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match=r"^study: must be a name, got .*Set study=NAME"):
        plain_name("study", name)


def test_a_number_is_a_name_and_any_other_text_becomes_one() -> None:
    assert plain_name("study", 2024) == "2024"
    assert plain_name("study", "../x") == folder_name("../x")
