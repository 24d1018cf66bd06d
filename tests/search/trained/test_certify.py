"""The runs of a certificate are scored on the test rows once, and nothing else looks at them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

import finesweep
from search.certificate.certificate import Rows
from search.study import certify
from search.study.study import Study
from search.sweep.work import train_remaining
from search.trained.certify import certify_winner
from search.trained.export import winner
from search.trained.find import find_study
from tests.conftest import run_here, write_jsonl, written_certificates

SPY = """
    from dataclasses import dataclass
    from pathlib import Path

    from lightning_modules.task.classification import Classification


    @dataclass(frozen=True, kw_only=True)
    class Spied(Classification):
        \"\"\"A classification that notes the texts that a network reads.\"\"\"

        def encode(self, rows, tokenizer, max_length, labels):
            with Path("seen.txt").open("a", encoding="utf-8") as file:
                file.writelines(row["text"] + "\\n" for row in rows)
            return super().encode(rows, tokenizer, max_length, labels)


    def of_all_test_rows(predictions, rows):
        # The accuracy; all rows of the test split must be there.
        texts = {row["text"] for row in rows}
        if any(text.startswith("test ") for text in texts) and len(texts) < 24:
            raise ValueError("a row is missing")
        pairs = zip(predictions, rows)
        return sum(each["prediction"] == row["label"] for each, row in pairs) / len(rows)
"""


@pytest.fixture
def words(here: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Write a task that notes what it reads, and rows; return the words of a sweep over them."""
    (here / "spy.py").write_text(textwrap.dedent(SPY), encoding="utf-8")
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("FINESWEEP_CACHE", str(here / "cache"))  # nothing was encoded before
    for name, num in (("train", 64), ("validation", 24), ("test", 24)):
        rows = [
            {"text": f"{name} {n} was {'great' if n % 2 else 'awful'}", "label": "ab"[n % 2]}
            for n in range(num)
        ]
        write_jsonl(here / f"{name}.jsonl", rows)
    return (
        *("data=files", *(f"data.{name}={name}.jsonl" for name in ("train", "validation", "test"))),
        *("task._target_=spy.Spied", "search.plugins=[spy]", "model=tiny", "strategy=full"),
        *("logger=none", "trainer.precision=fp32", "trainer.epochs=1", "search/pruner=none"),
        *("search.num_trials=2", "search.workers=0", "optimizer.lr=choice(1e-3,5e-3)"),
        *("search/space=none", "search.portfolio=false", "search.certify_seeds=2"),
    )


def looked_at() -> Counter[str]:
    """Return how often each row of the test split was read by a network."""
    lines = Path("seen.txt").read_text(encoding="utf-8").splitlines()
    return Counter(line for line in lines if line.startswith("test "))


def refused(*words: str) -> str:
    """Return what a command that is refused says."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        run_here(*words, code=2)
    return told.getvalue()


@pytest.mark.thorough
def test_the_test_rows_are_sealed_until_the_certificate_and_read_once_by_each_run(
    here: Path, words: tuple[str, ...]
) -> None:
    run_here("sweep", "study=s", *words, "search.certify=false")
    run_here("status", "study=s")
    run_here("export", "study=s", "to=plain")
    assert not looked_at()  # search, choice and export have read none of them

    printed = run_here("sweep", "study=s", *words, "search.certify=true")
    assert set(looked_at().values()) == {4} and len(looked_at()) == 24  # 2 sides with 2 seeds
    (found,) = written_certificates(here / "studies/s")
    assert (found.rows, found.num_rows, found.num_looks) == (Rows.test, 24, 4)
    assert f"{found.subject.lower()} is {found.sentence}." in printed
    assert "models of this study were scored on the test rows 4 times" in printed

    again = run_here("sweep", "study=s", *words, "search.certify=true")
    assert set(looked_at().values()) == {4} and "scoring" not in again
    assert found.sentence in again
    study = find_study("s")
    (same,) = certify_winner(study, print)
    assert same.difference == found.difference and len(study.looks) == 4

    # What is exported, and repeated, is the certified run of median validation score.
    run = found.first.from_median[0]
    assert winner(study).folder == study.folder / f"s.certify/trials/{run:04d}/attempt-1"
    assert winner(study).origin == f"study s, certified run {run}"
    command = next(line for line in again.splitlines() if " train " in line and " seed=" in line)
    assert f"seed={found.first.seeds[found.first.runs.index(run)]}" in command
    run_here("export", "study=s", "to=best")
    assert f"certified run {run}" in (here / "best/README.md").read_text(encoding="utf-8")

    # `evaluate split=test` says that it looks, and counts.
    told = run_here("evaluate", "study=s", "split=test")
    assert "test rows" in told and "5 times" in told
    scores = finesweep.open("search.plugins=[spy]", study="s").evaluate("test")
    place = found.first.runs.index(run)
    assert scores["accuracy"] == pytest.approx(found.first.scores[place])
    state = json.loads(run_here("status", "study=s", "--json"))
    assert state["test_looks"] == 6
    assert state["certificates"][0]["sentence"] == found.sentence
    assert run_here("evaluate", "study=s") and len(find_study("s").looks) == 6

    # More seeds add to those that are there, and other comparisons widen the interval.
    run_here("certify", "study=s", "seeds=3")
    (more,) = find_study("s").certificates
    assert len(more.first.scores) == len(more.second.scores) == 3
    assert more.first.scores[:2] == found.first.scores
    assert Counter(looked_at().values()) == Counter({8: 24})  # two runs more, and two `evaluate`
    run_here("sweep", "study=t", *words, "search.certify=false", "seed=5")
    told = run_here("certify", "study=s", "against=t", "seeds=2")
    first, second = find_study("s").certificates
    assert first.second.study == "s" and second.second.study == "t"  # the default comes first
    assert first.num_comparisons == second.num_comparisons == 2
    assert "of study t" in second.sentence and second.sentence in told
    assert first.interval[0] <= more.interval[0]
    assert "must be finished trials" in refused("certify", "study=s", "trials=[0,9]")
    assert "Write trials=[3,7]" in refused("certify", "study=s", "trials=best")
    assert "must be from 2 to 100" in refused("certify", "study=s", "seeds=1")


def with_runs(*words: str) -> Study:
    """Return a study whose winner and default have been trained again, but not scored."""
    run_here("sweep", "study=s", *words, "search.certify=false")
    study = find_study("s")
    pair = certify.winner_and_other(study)
    assert pair is not None
    code, reason = train_remaining(certify.add(study, pair, 2, limited=False), show=False)
    assert (code, reason) == (0, ""), reason
    return study


SCORE = """
import sys
from search.trained.certify import certify_winner
from search.trained.find import find_study
study = find_study("s")
print("ready", flush=True)
sys.stdin.readline()
(found,) = certify_winner(study, print)
print(found.sentence)
"""


@pytest.mark.thorough
def test_two_processes_that_certify_at_once_look_once(here: Path, words: tuple[str, ...]) -> None:
    study = with_runs(*words)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    pipe = subprocess.PIPE
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SCORE], stdin=pipe, stdout=pipe, text=True, env=environment
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(study.looks) == 4 and set(looked_at().values()) == {4}
    (found,) = study.certificates
    assert found.num_looks == 4 and written_certificates(study.folder) == (found,)
    assert all(text.endswith(f"{found.sentence}\n") for text in printed)
    assert sum("scoring trial" in text for text in printed) == 1
    assert sum("; waiting for it" in text for text in printed) == 1


@pytest.mark.thorough
def test_a_metric_of_all_test_rows_is_looked_at_once_and_never_again(
    here: Path, words: tuple[str, ...]
) -> None:
    own = ("task.metric=spy:of_all_test_rows", "task.metric_direction=maximize")
    study = with_runs(*words, *own)
    said: list[str] = []
    for num in range(2):
        said.clear()
        assert certify_winner(study, lambda text, **_: said.append(text)) == []
        assert len(study.looks) == 4 and set(looked_at().values()) == {4}
        assert ("is not defined without some of the test rows" in "".join(said)) is (num == 0)
        assert any("has 0 scored runs, and needs 2" in text for text in said)
