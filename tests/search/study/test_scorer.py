"""One process at a time scores the runs of a certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.storage.lease import LeaseLost
from search.storage.tables import WORKERS
from search.study import scorer as scoring
from search.study.scorer import scorer
from tests.search.study.conftest import ended_study


def test_a_scorer_that_was_stopped_too_long_is_replaced_and_changes_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "POLL_SECONDS", 0.01)
    study = ended_study(here, [0.5, 0.6])
    said: list[str] = []

    def say(text: str, **_: object) -> None:
        said.append(text)
        is_first = WORKERS.c.name == text.partition(" scores")[0]
        with study.tables.engine.begin() as connection:  # now its host is silent
            silent = {"host": "elsewhere", "renewed": 0.0}
            connection.execute(WORKERS.update().where(is_first).values(**silent))

    with scorer(study, print) as first:
        first.store_scored(0, {"score": 0.5})
        with scorer(study, say) as second:
            assert len(said) == 1 and said[0].endswith("of study s; waiting for it")
            second.store_scored(1, {"score": 0.6})
            with pytest.raises(LeaseLost):
                first.store_scored(1, {"score": 0.7})
            with pytest.raises(LeaseLost):
                _ = first.scored
    assert study.scored == {0: {"score": 0.5}, 1: {"score": 0.6}}
