"""All cores for many rows, unless the user has said otherwise."""

from __future__ import annotations

import os

import pytest

from lightning_modules.machine.parallel import OFF, VARIABLE, on_all_cores


@pytest.mark.parametrize(
    ("before", "within", "num_said"),
    [
        (None, "true", 0),
        (OFF, "true", 0),
        ("false", "false", 1),
        ("0", "0", 1),
        ("off", "off", 1),
        ("OFF", "OFF", 1),
        ("", "", 1),
        ("true", "true", 0),
    ],
)
def test_the_users_own_value_stays(
    before: str | None, within: str, num_said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, before)
    said: list[str] = []
    with on_all_cores(said.append):
        assert os.environ[VARIABLE] == within
    assert os.environ.get(VARIABLE) == before
    assert len(said) == num_said and all(VARIABLE in each for each in said)
