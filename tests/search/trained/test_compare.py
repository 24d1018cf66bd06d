"""Trials that a person names are certified: on a front, and against models that nobody trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from search.certificate.certificate import Certificate, Verdict
from search.study import certify
from search.study.study import Study
from search.terminal.certify import certify_lines
from search.trained.compare import certificates_of_trials
from search.trained.find import find_study
from search.trained.report import write_report
from tests.conftest import run_here, write_jsonl
from tests.search.study.test_certify import by_number, make_runs, small_files, trained


def certificates_here(study: Study, numbers: list[int], num_seeds: int) -> list[Certificate]:
    """Certify trials whose runs score by their number."""

    def work(certifying: Study) -> None:
        make_runs(study, certifying, by_number)

    return certificates_of_trials(study, numbers, num_seeds, None, work, print)


def test_trials_of_a_front_are_certified_against_the_default(here: Path) -> None:
    words = (*small_files(here, has_validation=True), "search.objectives=[accuracy,seconds]")
    study = trained(here, [0.5, 0.9, 0.7], *words)
    assert certify.begin(study) is None  # there is no single winner
    found = certificates_here(study, [1, 2], 2)
    assert [(each.first.trial, each.second.trial) for each in found] == [(1, 0), (2, 0)]
    assert {each.num_comparisons for each in found} == {2}
    assert {each.verdict for each in found} == {Verdict.better}
    assert found[0].metric == "accuracy" and "for 2 comparisons" in found[0].sentence
    lines = "\n".join(certify_lines(study))
    for each in found:
        assert f"trial {each.first.trial} is {each.sentence}" in lines
    brief = write_report(study)[1].read_text(encoding="utf-8")
    assert all(each.sentence.partition(" (")[0] in brief for each in found)
    # Without a number it is the first one of the front.
    (first,) = certificates_here(study, [], 2)[:1]
    assert study.best is not None and first.first.trial == study.best.number


@pytest.fixture
def words(here: Path) -> tuple[str, ...]:
    """Write rows; return the words of a sweep over them."""
    for name, num in (("train", 64), ("validation", 24), ("test", 24)):
        rows = [
            {"text": f"{name} {n} was {'great' if n % 2 else 'awful'}", "label": "ab"[n % 2]}
            for n in range(num)
        ]
        write_jsonl(here / f"{name}.jsonl", rows)
    return (
        *("data=files", *(f"data.{name}={name}.jsonl" for name in ("train", "validation", "test"))),
        *("model=tiny", "logger=none", "trainer.precision=fp32", "search/pruner=none"),
        *("search.workers=0", "search/space=none", "search.portfolio=false"),
        "search.certify=false",
    )


FULL = ("strategy=full", "trainer.epochs=1", "optimizer.lr=choice(1e-3,5e-3)")


@pytest.mark.thorough
def test_a_trained_model_is_compared_with_one_that_is_only_asked(
    here: Path, words: tuple[str, ...]
) -> None:
    shots = ("strategy=prompting", "strategy.num_shots=choice(0,4)", "search.num_trials=1")
    run_here("sweep", "study=asked", *words, *shots)
    run_here("sweep", "study=s", *words, *FULL, "search.num_trials=2")
    told = run_here("certify", "study=s", "against=asked", "seeds=2")
    (found,) = find_study("s").certificates
    assert (found.first.study, found.second.study) == ("s", "asked")
    assert len(found.first.scores) == 2 and len(found.second.scores) == 1
    assert found.problems == () and found.sentence in told
    assert len(find_study("asked").looks) == 1  # every seed would give the same model
    assert len(find_study("s").looks) == 2
    # The other way round, with what is there.
    run_here("certify", "study=asked", "against=s", "seeds=2")
    (turned,) = find_study("asked").certificates
    assert turned.difference.value == pytest.approx(-found.difference.value)
    assert turned.difference.error == pytest.approx(found.difference.error)
    assert len(find_study("asked").looks) == 1 and len(find_study("s").looks) == 2
    for name in ("s", "asked"):
        assert json.loads(run_here("status", f"study={name}", "--json"))["certificates"]
        assert "report.html" in run_here("report", f"study={name}")


@pytest.mark.thorough
def test_arms_that_train_and_that_do_not_are_compared_in_one_study(
    here: Path, words: tuple[str, ...]
) -> None:
    ways = ("strategy=choice(prompting,full)", "strategy.num_shots=choice(0,4)")
    run_here("sweep", "study=s", *words, *ways, "trainer.epochs=1", "search.num_trials=4")
    study = find_study("s")
    ended = {t.number: study.params_of(t) for t in study.trials if t.state.name == "COMPLETE"}
    asked = [number for number, values in ended.items() if values["strategy"] == "prompting"]
    full = next(number for number, values in ended.items() if values["strategy"] == "full")
    default = study.ranking.default
    assert default is not None and len(asked) == 2
    named = [number for number in (*asked, full) if number != default.number]
    run_here("certify", "study=s", f"trials={json.dumps(named)}", "seeds=2")
    found = {each.first.trial: each for each in find_study("s").certificates}
    assert sorted(found) == sorted(named)
    assert len(found[asked[-1]].first.scores) == 1
    assert all(each.problems == () for each in found.values())


def test_a_trial_is_not_compared_with_itself(here: Path) -> None:
    study = trained(here, [0.5, 0.9])
    with pytest.raises(ConfigError, match="another winner than trial 1 itself, got 's'"):
        certificates_of_trials(study, [], 2, study, lambda _: pytest.fail("trains"), print)
    assert study.certificates == () and not (study.folder / "s.certify").exists()
