"""What a continued study will try, as `finesweep plan` shows it."""

from __future__ import annotations

from pathlib import Path

from search.config import compose_free
from search.estimate.preview import preview
from search.space.key import canonical_key
from search.study.ask import ask
from search.study.tell import result_of, tell
from tests.search.study.test_ask import FREE, SPACE, asked_study

QUEUE = "search.enqueue=[{x: 0.25},{x: 0.75}]"


def test_the_trials_that_are_there_come_first_then_what_is_new_in_the_queue(here: Path) -> None:
    study = asked_study(here, "search.num_trials=2", "search.enqueue=[{x: 0.25}]")
    made = []
    while (attempt := ask(study)) is not None:
        made.append(attempt.values)
        tell(study, attempt.number, result_of("score", 0.5))
    words = ("search.num_trials=5", QUEUE)
    ahead = preview(compose_free([*FREE, *SPACE, *words]))
    assert ahead.suggestions[:3] == [*made, {"x": 0.75}]
    assert sorted(ahead.ended) == [0, 1]
    keys = [canonical_key({"x": x}) for x in (0.25, 0.75)]
    assert [ahead.starts[number] for number in (0, 2)] == keys
    study = asked_study(here, *words)
    new = []
    while (attempt := ask(study)) is not None:
        new.append(attempt.values)
    assert new[0]["x"] == 0.75
    assert ahead.suggestions[3:] == new[1:]
