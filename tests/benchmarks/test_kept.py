"""Results of hours: a benchmark that was stopped continues from its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared_parts.argument import add_kept, parser_of
from shared_parts.kept import Results


def test_a_cell_runs_once_and_other_cells_run_too(tmp_path: Path) -> None:
    ran: list[int] = []

    def run(score: int) -> dict[str, Any]:
        ran.append(score)
        return {"score": score}

    for number in (0, 1, 0):
        results = Results(tmp_path / "kept.jsonl", "result")  # as another command would read them
        found = results.get_or_run({"seed": number, "words": []}, lambda n=number: run(n))
        assert found == {"score": number}
    assert ran == [0, 1]


def test_none_keeps_nothing() -> None:
    results = Results(None, "result")
    assert [results.get_or_run({}, lambda n=n: {"n": n}) for n in (1, 2)] == [{"n": 1}, {"n": 2}]


def test_the_file_can_be_named_or_left_out() -> None:
    parser = parser_of("A benchmark.", "less of it")
    add_kept(parser, Path("results.jsonl"))
    words = {(): Path("results.jsonl"), ("--kept", "none"): None, ("--kept", "a"): Path("a")}
    assert {given: parser.parse_args(given).kept for given in words} == words
