"""The winner and the default are trained over fresh seeds in a study of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.folder import BEST_FILE
from lightning_modules.outcome import Ending, Outcome
from search.certificate.certificate import (
    CERTIFICATE_FILE,
    Certificate,
    Rows,
    Verdict,
)
from search.config import Follows, compose
from search.estimate.preview import preview
from search.plan.certify import certifies, fresh_of, max_runs, refusal, rows_of
from search.report.results import status
from search.storage.attribute import ROW_SCORES
from search.storage.failure import FailureKind
from search.storage.location import study_folder
from search.study import certify, confirm, follow
from search.study.open import load_study, study_folders
from search.study.reserve import reserved_before
from search.study.session import join
from search.study.study import Study
from search.terminal.certify import certificate_lines, certify_lines, plan_lines
from search.trained.certify import certify as draw_certificates
from search.trained.certify import certify_winner
from search.trained.compare import certificates_of_trials
from search.trained.export import certified_winner, finished_trial
from search.trained.side import Side
from tests.conftest import write_jsonl, written_certificates
from tests.search.study.conftest import (
    SPACE,
    begin,
    ended_study,
    numbers_of,
    outcome,
    plan_of,
    scored,
    study_of,
    train,
    train_rest,
)

CERTIFY = ("search.certify=true", "search.portfolio=false", "search/sampler=random")
NO_TEST = ("data=files", "data.train=my.csv", "data.test_fraction=0")


def trained(here: Path, accuracies: Sequence[float], *words: str) -> Study:
    return ended_study(here, accuracies, *CERTIFY, *words)


def run_all(study: Study, made: Callable[[int, int], Outcome]) -> Study:
    """Train the runs of the certificate, with an outcome by trial and seed."""
    certifying = certify.begin(study)
    assert certifying is not None
    return make_runs(study, certifying, made)


def make_runs(study: Study, certifying: Study, made: Callable[[int, int], Outcome]) -> Study:
    """Train the waiting runs of a certificate."""
    numbers, path = numbers_of(study), fresh_of(study.plan).path
    train_rest(certifying, lambda values: made(numbers[values["optimizer.lr"]], values[path]))
    return load_study(certifying.folder)


def small_files(here: Path, *, has_validation: bool = False) -> tuple[str, ...]:
    """Write a data set without a test split; return the words that name it."""
    rows = [
        {"text": f"The {n} was {'great' if n % 2 else 'awful'}.", "label": "ab"[n % 2]}
        for n in range(80)
    ]
    words = ["data=files", "data.train=rows.jsonl", "data.test_fraction=0"]
    write_jsonl(here / "rows.jsonl", rows[:60] if has_validation else rows)
    if has_validation:
        write_jsonl(here / "more.jsonl", rows[60:])
        words.append("data.validation=more.jsonl")
    return tuple(words)


@pytest.mark.parametrize(
    ("words", "rows", "path", "first"),
    [
        ((), Rows.test, "seed", 1000),
        (("seed=7",), Rows.test, "seed", 1007),
        (("seed=choice(0,1,2)",), Rows.test, "seed", 1002),
        (NO_TEST, Rows.splits, "data.validation_seed", 1000),
        ((*NO_TEST, "data.validation=dev.csv"), Rows.validation, "seed", 1000),
    ],
)
def test_seeds_are_far_from_those_of_the_search(
    words: tuple[str, ...], rows: Rows, path: str, first: int
) -> None:
    plan = plan_of("search.certify=true", *words)
    fresh = fresh_of(plan)
    assert rows_of(plan) is rows
    assert (fresh.path, list(fresh.values)) == (path, [first, first + 1, first + 2])
    assert fresh.range == fresh_of(plan, 5).range  # so that seeds can be added later
    assert max_runs(plan) == 6


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), None),
        (("search.objectives=[accuracy,seconds]",), "several goals"),
        (("search.ask_tell=true",), "a loop of yours"),
        (("search.num_trials=1",), "there is one trial"),
    ],
)
def test_what_cannot_be_certified_says_why(words: tuple[str, ...], reason: str | None) -> None:
    plan = plan_of("search.certify=true", *words)
    assert certifies(plan) is (reason is None)
    (line,) = plan_lines(plan)
    if reason is None:
        assert line == (
            "the winner and the default over 3 fresh seeds, then scored once on the test rows: "
            "6 more runs"
        )
    else:
        assert reason in str(refusal(plan)) and line.startswith("not done, because")


def test_the_winner_and_the_default_are_trained_over_every_seed(here: Path) -> None:
    study = trained(here, [0.5, 0.6, 0.9])
    certifying = certify.begin(study)
    assert certifying is not None
    assert certifying.folder == study.folder / "s.certify" == study_folder(here, "s.certify")
    assert certifying.plan.composition.follows == Follows("certify", "s")
    assert study_folders(here) == [study.folder]
    assert (certifying.plan.num_trials, study.plan.num_trials) == (6, 3)
    rates = [study.params_of(study.trials[number])["optimizer.lr"] for number in (2, 0)]
    queue = [trial.system_attrs["fixed_params"] for trial in certifying.trials]
    assert [each["seed"] for each in queue] == [1000, 1000, 1001, 1001, 1002, 1002]
    assert [each["optimizer.lr"] for each in queue] == pytest.approx(rates * 3)
    assert (status(certifying)["certifies"], status(study)["certifies"]) == ("s", None)


def test_a_default_that_wins_is_compared_with_the_runner_up(here: Path) -> None:
    study = trained(here, [0.9, 0.6, 0.7])
    pair = certify.winner_and_other(study)
    assert pair is not None and [trial.number for trial in pair] == [0, 2]
    alone = study_of(here, "study=t", *CERTIFY, "search.num_trials=2")
    train(alone, [outcome(0.9), outcome(0.6, ending=Ending.diverged)])
    assert certify.winner_and_other(alone) is None and certify.begin(alone) is None
    assert certify_lines(alone) == ["There is no certificate: no other configuration has finished."]


def test_it_waits_for_the_budget_and_for_what_is_confirmed(here: Path) -> None:
    study = study_of(here, *CERTIFY, "search.num_trials=2", "search.confirm=2")
    train(study, [outcome(0.5)])
    assert certify.begin(study) is None and certify_lines(study) == []
    train(study, [outcome(0.9)])
    assert confirm.is_pending(study) and certify.begin(study) is None
    confirming = confirm.begin(study)
    assert confirming is not None
    train(confirming, [outcome(0.5), outcome(0.9), outcome(0.5), outcome(0.9)])
    assert confirm.store_results(study, confirming)
    assert not confirm.is_pending(study)
    certifying = certify.begin(study)
    assert certifying is not None
    assert follow.ask_to_stop(study) == []
    assert certifying.is_stopping and confirming.is_stopping and certify.begin(study) is None


def test_an_interrupted_run_waits_for_the_next_command(here: Path) -> None:
    study = trained(here, [0.5, 0.9])
    certifying = certify.begin(study)
    assert certifying is not None
    session = join(certifying)
    session.ended(begin(session), outcome(0.9))
    session.hand_back(begin(session), FailureKind.interrupted, "asked to stop", 1.0)
    session.leave()
    assert certify_lines(study) == [
        "Certifying the winner, as study s.certify: 1 of 6 runs have ended; run the same command "
        "to continue."
    ]
    again = certify.begin(study)
    assert again is not None and again.plan.num_trials == len(again.trials) == 6
    assert certify.runs_left(study) == 5


def test_a_grown_study_trains_only_its_new_winner(here: Path) -> None:
    study = trained(here, [0.5, 0.9])
    run_all(study, lambda number, seed: outcome(0.7))
    grown = study_of(here, *CERTIFY, "search.num_trials=3")
    train(grown, [outcome(0.95)])
    certifying = certify.begin(grown)
    assert certifying is not None
    assert (certifying.plan.num_trials, certifying.num_ended) == (9, 6)


def test_the_search_leaves_it_time(here: Path) -> None:
    hours = f"search.max_hours={100 / 3600}"
    study = study_of(here, *CERTIFY, hours, "search.num_trials=12")
    train(study, [outcome(0.5, 4.0), outcome(0.9, 6.0)])
    assert study.reserved_to_certify == pytest.approx(1.1 * 3 * 10, rel=0.2)
    tight = study_of(here, "study=t", *CERTIFY, f"search.max_hours={50 / 3600}")
    train(tight, [outcome(0.5, 4.0), outcome(0.9, 6.0)])
    assert tight.reserved_to_certify == pytest.approx(1.1 * 2 * 10, rel=0.2)  # two seeds
    short = study_of(here, "study=u", *CERTIFY, f"search.max_hours={20 / 3600}")
    train(short, [outcome(0.5, 4.0), outcome(0.9, 6.0)])
    assert short.reserved_to_certify == 0


def scoring(accuracy: float, seconds: float) -> Outcome:
    """Return a run whose test rows take 5 s."""
    return replace(outcome(accuracy, seconds), scoring_seconds=5.0)


@pytest.mark.parametrize(("seconds", "num_seeds"), [(200, 3), (50, 2), (35, 0)])
def test_the_search_leaves_it_time_to_score(here: Path, seconds: float, num_seeds: int) -> None:
    hours = f"search.max_hours={seconds / 3600}"
    study = study_of(here, *CERTIFY, hours, "search.num_trials=2")
    train(study, [scoring(0.5, 4.0), scoring(0.9, 6.0)])
    pair = certify.winner_and_other(study)
    assert pair is not None and study.seconds_left is not None
    assert certify.least_seconds(study, pair) == pytest.approx(2 * 20, rel=0.05)
    left = study.seconds_left[0]
    certifying = certify.begin(study)
    assert (certifying is not None) == bool(num_seeds)
    if certifying is None:
        assert study.reserved_to_certify == 0
        assert certify_lines(study) == [
            "There is no certificate: it takes about 40 s of training and scoring, and "
            "search.max_hours leaves 35 s."
        ]
        return
    limit = certifying.plan.search.settings.max_hours
    assert limit is not None and 3600 * limit == pytest.approx(left - num_seeds * 2 * 5.0, abs=1)
    certifying = make_runs(study, certifying, lambda *_: scoring(0.9, 4.0))
    # All that is left to do is to score, and for what has a score nothing.
    assert study.seconds_of_certificate(pair) == [(0.0, 10.0)] * 3
    for run in certifying.trials:
        certifying.store_scored(run.number, {"parts": None})
    assert study.seconds_of_certificate(pair) == [(0.0, 0.0)] * 3


def test_the_plan_counts_the_time_to_score() -> None:
    plan = plan_of("search.certify=true", f"search.max_hours={1000 / 3600}")
    assert reserved_before(plan, 10.0) == (0, pytest.approx(1.1 * 6 * 10))
    assert reserved_before(plan, 10.0, 5.0) == (0, pytest.approx(1.1 * 6 * 15))


@pytest.mark.parametrize("has_validation", [False, True])
def test_without_a_test_split_validation_rows_stand_in(here: Path, has_validation: bool) -> None:
    words = small_files(here, has_validation=has_validation)
    study = trained(here, [0.5, 0.9], *words)
    run_all(study, lambda number, seed: scored({0: 0.5, 1: 0.9}[number], seed % 3))
    printed: list[str] = []
    (found,) = certify_winner(study, lambda text, **_: printed.append(text))
    assert printed == []
    assert found.rows is (Rows.validation if has_validation else Rows.splits)
    assert found.num_looks == 0 and found.verdict is Verdict.better
    assert found.difference.value == pytest.approx(0.4)
    assert found.searched_gain == pytest.approx(0.4)
    assert "because there is no test split" in found.sentence
    assert written_certificates(study.folder) == study.certificates == (found,)
    assert f"Certificate: trial 1 is {found.sentence}." in certify_lines(study)
    (study.folder / CERTIFICATE_FILE).unlink()
    certify_winner(study, print)
    assert written_certificates(study.folder) == study.certificates


def test_a_run_that_diverged_is_said_and_not_counted(here: Path) -> None:
    study = trained(here, [0.5, 0.9], *small_files(here, has_validation=True))

    def made(number: int, seed: int) -> Outcome:
        if (number, seed) == (1, 1001):
            return outcome(0.5, ending=Ending.diverged)
        return scored({0: 0.5, 1: 0.9}[number], seed % 3)

    run_all(study, made)
    (found,) = certify_winner(study, print)
    assert (found.first.num_failed, len(found.first.scores), len(found.second.scores)) == (1, 2, 3)
    assert found.problems == ("trial 1 has no score with seed 1001: to its end",)


def test_one_score_of_a_side_is_no_certificate(here: Path) -> None:
    study = trained(here, [0.5, 0.9], *small_files(here, has_validation=True))
    run_all(study, lambda number, seed: scored(0.5, 0) if number == 0 else outcome(0.9))
    printed: list[str] = []
    assert certify_winner(study, lambda text, **_: printed.append(text)) == []
    assert printed == ["no certificate: trial 1 of study s has 0 scored runs, and needs 2"]


def test_a_side_whose_runs_failed_needs_more_seeds_and_not_the_same_command(here: Path) -> None:
    study = trained(here, [0.5, 0.9], *small_files(here, has_validation=True))

    def made(number: int, seed: int) -> Outcome:
        if number == 1 and seed > 1000:
            return outcome(0.5, ending=Ending.diverged)
        return scored(0.5, seed % 3)

    run_all(study, made)
    assert certify_winner(study, print) == []
    assert certify_lines(study) == [
        "There is no certificate: 1 of 3 runs of trial 1 finished, and it takes 2; "
        "finesweep certify study=s seeds=5 adds seeds."
    ]
    pair = [study.trials[number] for number in (1, 0)]
    make_runs(study, certify.add(study, pair, 5, limited=False), lambda *_: scored(0.5, 0))
    (found,) = certify_winner(study, print)
    assert len(found.first.scores) == 3


@pytest.mark.parametrize("keep", [3, 6])
def test_weights_stay_of_what_may_be_exported(here: Path, keep: int) -> None:
    words = small_files(here, has_validation=True)
    study = trained(here, [0.5, 0.9], *words, f"search.keep={keep}")
    certifying = run_all(study, lambda number, seed: scored(0.5 + seed % 5 / 10, number))

    def held() -> set[int]:
        folders = {run.number: certifying.folder_of(run) for run in certifying.trials}
        return {number for number, folder in folders.items() if (folder / BEST_FILE).is_file()}

    assert len(held()) == 6
    (found,) = certify_winner(study, print)
    medians = {found.first.from_median[0], found.second.from_median[0]}
    assert held() == (medians if keep == 3 else set(range(6)))
    won = certified_winner(study)
    assert won is not None and won[1].number == found.first.from_median[0]
    for number in set(range(6)) - held():
        with pytest.raises(ConfigError, match="keeps those of one run of each configuration"):
            finished_trial(certifying, number)

    # With more seeds another run is the median; if it has no weights, the nearest that has them.
    pair = [study.trials[number] for number in (1, 0)]
    more = certify.add(study, pair, 5, limited=False)
    make_runs(study, more, lambda number, seed: scored(0.9, number))
    certify_winner(study, print)
    won = certified_winner(load_study(study.folder))
    assert won is not None and won[1].number in held()


def test_weights_that_cannot_be_deleted_leave_the_certificate(here: Path) -> None:
    study = trained(here, [0.5, 0.9], *small_files(here, has_validation=True))
    certifying = run_all(study, lambda number, seed: scored(0.5 + seed % 3 / 10, number))
    for run in certifying.trials:
        (certifying.folder_of(run) / BEST_FILE).unlink()
        (certifying.folder_of(run) / BEST_FILE).mkdir()
    said: list[str] = []
    (found,) = certify_winner(study, lambda text, **_: said.append(text))
    assert written_certificates(study.folder) == (found,)
    assert len(said) == 4 and all("could not be deleted" in each for each in said)


def by_number(number: int, seed: int) -> Outcome:
    """Return a run of trial 0, 1 or 2, better with the number."""
    return scored({0: 0.5, 1: 0.9, 2: 0.7}[number], seed % 3)


def certified(here: Path) -> Study:
    """Return a study whose winner, trial 1, is certified."""
    study = trained(here, [0.5, 0.9, 0.7], *small_files(here, has_validation=True))
    run_all(study, by_number)
    certify_winner(study, print)
    return load_study(study.folder)


def draw_up(study: Study, first: int, second: int) -> list[Certificate]:
    """Train two trials over three seeds, and draw up their certificate."""
    pair = [study.trials[number] for number in (first, second)]
    make_runs(study, certify.add(study, pair, 3, limited=False), by_number)
    one, other = (Side.of(study, trial) for trial in pair)
    assert one is not None and other is not None
    return draw_certificates(study, [(one, other)], print)


def test_a_verdict_on_another_trial_leaves_the_winner_its_own(here: Path) -> None:
    study = certified(here)
    assert [each.first.trial for each in draw_up(study, 2, 0)] == [2, 1]
    again = load_study(study.folder)
    assert [each.first.trial for each in again.certificates] == [1, 2]
    assert written_certificates(study.folder) == again.certificates
    assert again.certificate == again.certificates[0]
    lines = "\n".join(certify_lines(again))
    assert "trial 1 is better" in lines and "trial 2 is better" in lines
    assert "not certified yet" not in lines
    won = certified_winner(again)
    assert won is not None and won[1].number == again.certificates[0].first.from_median[0]


def test_a_verdict_on_another_trial_alone_is_shown_too(here: Path) -> None:
    words = small_files(here, has_validation=True)
    study = trained(here, [0.5, 0.9, 0.7], *words, "search.certify=false")
    draw_up(study, 2, 0)
    again = load_study(study.folder)
    assert again.certificate is None and certified_winner(again) is None
    assert certify_lines(again)[0].startswith("Certificate: trial 2 is better than the default")


def test_a_pair_in_the_other_order_is_no_second_comparison(here: Path) -> None:
    study = certified(here)
    (turned,) = draw_up(study, 0, 1)
    assert (turned.first.trial, turned.num_comparisons) == (0, 1)
    assert "on the validation rows of the search" not in "\n".join(certificate_lines(turned))
    behind = "\n".join(certificate_lines(replace(turned, rows=Rows.test)))
    assert "It was 40.0 points behind on the validation rows of the search." in behind
    (kept,) = load_study(study.folder).certificates
    assert kept.first.trial == 1


def test_how_many_runs_are_missing_is_counted_from_those_that_were_asked_for(here: Path) -> None:
    study = trained(here, [0.5, 0.9], *small_files(here, has_validation=True))
    two = certify.add(study, study.trials, 2, limited=False)
    make_runs(study, two, by_number)
    (found,) = certify_winner(study, print)
    assert (found.problems, len(found.first.scores)) == ((), 2)
    certify.add(study, study.trials, 3, limited=False)
    (found,) = certify_winner(study, print)
    assert found.problems == ("trial 1 has 2 of 3 runs", "trial 0 has 2 of 3 runs")


def test_runs_of_a_certificate_that_were_made_are_not_announced_again(here: Path) -> None:
    study = certified(here)
    assert certify.runs_left(study) == 0
    fixed = ("study=s", "model=tiny", "logger=none", "trainer.epochs=2", "data.max_length=128")
    words = [*fixed, *SPACE, *CERTIFY, *small_files(here, has_validation=True)]
    ahead = preview(compose("sweep", [*words, "search.num_trials=3"]))
    assert (ahead.certify_runs, ahead.as_dict(None)["certify_runs"]) == (0, 0)
    (line,) = plan_lines(ahead.plan, ahead.certify_runs)
    assert line.endswith(": no more runs")
    grown = preview(compose("sweep", [*words, "search.num_trials=4"]))
    assert grown.certify_runs == 3  # the default's three count in any case


def test_a_study_of_one_trial_has_nothing_to_compare_with(here: Path) -> None:
    study = study_of(here, "search.num_trials=1")
    train(study, [outcome(0.5)])
    with pytest.raises(ConfigError, match="study: must have a finished configuration beside"):
        certificates_of_trials(study, [], None, None, print, print)


def test_another_study_that_keeps_other_rows_aside_is_refused_before_it_trains(here: Path) -> None:
    data = [word for word in small_files(here) if "fraction" not in word]
    study, other, same = (
        trained(here, [0.5, 0.9], f"study={name}", *data, f"data.split_seed={seed}")
        for name, seed in (("s", 0), ("t", 1), ("u", 0))
    )
    worked: list[Study] = []
    with pytest.raises(ConfigError, match="against: must be a study with the rows that study s"):
        certificates_of_trials(study, [], 2, other, worked.append, print)
    assert worked == []

    def work(certifying: Study) -> None:
        worked.append(certifying)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        certificates_of_trials(study, [], 2, same, work, print)


def test_a_study_with_another_metric_is_not_compared(here: Path) -> None:
    words = small_files(here, has_validation=True)
    study = trained(here, [0.5, 0.9], *words)
    other = trained(here, [0.5, 0.9], "study=t", "task.metric=macro_f1", *words)
    with pytest.raises(ConfigError, match="must have the metric of study s"):
        certificates_of_trials(study, [], None, other, print, print)
    assert follow.follow_up(study, "certify") is None  # nothing was queued


def test_a_run_without_scores_is_said_and_not_counted(here: Path) -> None:
    study = trained(here, [0.5, 0.9], *small_files(here, has_validation=True))

    def made(number: int, seed: int) -> Outcome:
        value = {0: 0.5, 1: 0.9}[number]
        return outcome(value) if (number, seed) == (0, 1001) else scored(value, seed % 3)

    run_all(study, made)
    (found,) = certify_winner(study, print)
    assert len(found.second.scores) == 2
    assert found.problems == (
        "run 3 of trial 0 is not counted, because it has no score to compare",
    )


def test_a_metric_that_is_not_defined_without_some_rows_takes_no_look(here: Path) -> None:
    study = trained(here, [0.5, 0.9], *small_files(here)[:2])  # with a test split
    run_all(study, lambda number, seed: outcome(0.9) if number else scored(0.9, 0))
    certifying = follow.follow_up(study, "certify")
    assert certifying is not None
    for run in certifying.trials:
        if run.system_attrs.get(ROW_SCORES) is not None:  # those of the default have a score
            kept = run.system_attrs[ROW_SCORES]
            certifying.store_scored(run.number, {"score": 0.9, "parts": kept, "num_rows": 20})
    said: list[str] = []
    for _ in range(2):
        said.clear()
        assert certify_winner(study, lambda text, **_: said.append(text)) == []
        assert said == [
            "trial 1: accuracy is not defined without some of the rows, so that it has no "
            "interval; such runs are not scored on the test rows",
            "no certificate: trial 1 of study s has 0 scored runs, and needs 2",
        ]
    assert certify_lines(study) == [
        "There is no certificate: accuracy of trial 1 is not defined without some of the rows, "
        "so that it has no interval."
    ]
    assert not study.looks
