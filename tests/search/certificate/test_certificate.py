"""The verdict in words and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.certificate.certificate import (
    CERTIFICATE_FILE,
    Certificate,
    Certified,
    Rows,
    Verdict,
    certificates_of,
    write_certificates,
)
from search.certificate.difference import Difference, difference_of_splits


def side(trial: int, score: float, *, is_default: bool = False) -> Certified:
    return Certified(
        study="s",
        trial=trial,
        is_default=is_default,
        params={"optimizer.lr": 1e-3},
        searched=score + 0.01,
        seeds=(1000, 1001, 1002),
        scores=(score - 0.01, score, score + 0.01),
        validation=(score + 0.02, score - 0.02, score),
        runs=(2 * trial, 2 * trial + 1, 2 * trial + 2),
        seconds=60.0,
    )


def certificate(value: float, row_error: float = 0.005, seed_error: float = 0.002) -> Certificate:
    """Return a verdict on trial 3 against the default, with this difference of accuracies."""
    return Certificate(
        study="s",
        metric="accuracy",
        is_minimized=False,
        rows=Rows.test,
        num_rows=1000,
        first=side(3, 0.8 + value),
        second=side(0, 0.8, is_default=True),
        difference=Difference(value, row_error**2, seed_error**2, 200, 4),
        what="seed",
        num_looks=6,
    )


def test_better_and_worse_have_the_same_words() -> None:
    better, worse = certificate(0.019), certificate(-0.019)
    assert (better.verdict, worse.verdict) == (Verdict.better, Verdict.worse)
    interval = "by 1.9 points (95 % interval 0.8 to 3.0)"
    assert better.sentence == f"better than the default {interval}"
    assert worse.sentence == f"worse than the default {interval}"
    assert better.subject == "Trial 3"
    assert better.probability == pytest.approx(1 - worse.probability) and better.probability > 0.99


def test_what_is_not_distinguishable_says_what_would_tell() -> None:
    found = certificate(0.004, seed_error=0.001)
    assert found.verdict is Verdict.undecided
    assert found.sentence == (
        "not distinguishable from the default: 0.4 points (-0.6 to 1.4); some 8,100 test rows "
        "would tell"
    )
    by_seeds = certificate(0.004, seed_error=0.01)
    assert by_seeds.rows_to_tell is None
    assert by_seeds.sentence.endswith(
        "more seeds would have to tell, because they vary more than the two differ"
    )


def test_that_many_rows_do_tell() -> None:
    few = certificate(0.004, seed_error=0.001)
    assert few.rows_to_tell is not None
    factor = few.rows_to_tell / few.num_rows
    many = replace(few.difference, row_variance=few.difference.row_variance / factor)
    half = few.difference.half_width() / few.difference.error * many.error
    assert half == pytest.approx(0.004, rel=0.02)


def test_equal_ones_are_said_to_be_equal() -> None:
    found = certificate(0.0, row_error=0.0, seed_error=0.0)
    assert found.sentence == (
        "not distinguishable from the default: both score the same on every row"
    )


def test_a_default_that_wins_is_compared_with_the_runner_up() -> None:
    one = certificate(0.019)
    found = replace(one, first=side(0, 0.82, is_default=True), second=side(5, 0.8))
    assert f"{found.subject} is {found.sentence}" == (
        "The default (trial 0) is better than the runner-up (trial 5) by 1.9 points "
        "(95 % interval 0.8 to 3.0)"
    )


def test_one_of_another_study_is_named_with_it() -> None:
    one = certificate(0.019)
    other = replace(one, second=replace(one.second, study="t", is_default=False, trial=7))
    assert "than trial 7 of study t by" in other.sentence
    other = replace(one, second=replace(one.second, study="t"))
    assert "than the default of study t by" in other.sentence


def test_several_comparisons_are_said_and_widen_the_interval() -> None:
    one, three = certificate(0.019), replace(certificate(0.019), num_comparisons=3)
    assert three.interval[0] < one.interval[0]
    assert "(95 % interval for 3 comparisons 0.6 to 3.2)" in three.sentence


def test_what_is_no_share_is_shown_in_its_own_unit() -> None:
    one = certificate(0.019)
    perplexity = replace(one, metric="perplexity", is_minimized=True)
    assert perplexity.sentence == (
        "better than the default by 0.019 (95 % interval 0.008 to 0.030)"
    )
    assert perplexity.gap == pytest.approx(-one.gap)
    far = replace(
        one,
        first=replace(one.first, scores=(31.0, 32.0, 33.0)),
        difference=Difference(1.5, 0.16, 0.01, 50, 4),
    )
    assert far.sentence == "better than the default by 1.50 (95 % interval 0.67 to 2.33)"


def test_how_much_was_selection() -> None:
    found = certificate(0.019)
    found = replace(found, first=replace(found.first, searched=0.85))
    assert found.searched_gain == pytest.approx(0.04)
    assert found.selection == pytest.approx(0.021)
    unknown = replace(found, second=replace(found.second, searched=None))
    assert unknown.searched_gain is None and unknown.selection is None


def test_the_exported_run_has_the_median_validation_score() -> None:
    assert side(3, 0.8).from_median[0] == 8
    pair = replace(side(3, 0.8), validation=(0.9, 0.7), runs=(4, 5))
    assert pair.from_median[0] == 5
    assert replace(pair, validation=(0.9, 0.7, 0.8), runs=(4, 5, 6)).from_median == [6, 4, 5]
    assert side(3, 0.8).spread == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (Rows.splits, ", on 3 repeated validation splits, because there is no test split"),
        (Rows.validation, ", on the validation rows that also chose, because there is no test"),
    ],
)
def test_without_a_test_split_the_sentence_says_so(rows: Rows, words: str) -> None:
    assert words in replace(certificate(0.019), rows=rows).sentence
    assert "validation rows would tell" in replace(certificate(0.004), rows=rows).sentence


def test_the_file_gives_back_the_same(here: Path) -> None:
    both = [replace(certificate(0.019), problems=("1 run diverged",)), certificate(-0.001)]
    write_certificates(here, both)
    values = json.loads((here / CERTIFICATE_FILE).read_text(encoding="utf-8"))
    assert list(certificates_of(values)) == both
    first = values["certificates"][0]
    assert first["verdict"] == "better" and first["sentence"] == both[0].sentence
    assert (first["low"], first["high"]) == both[0].interval
    assert certificates_of({**values, "format": 99}) == ()


def test_on_splits_the_pairs_count_and_the_difficulty_of_a_split_does_not() -> None:
    rng = np.random.default_rng(0)
    hard = [0.0, 5.0, -5.0]  # adds to both sides of a split
    ones = [rng.normal(0.5 + each, 0.1, 40) for each in hard]
    others = [rng.normal(0.3 + each, 0.1, 40) for each in hard]
    found = difference_of_splits(ones, others)
    assert found.value == pytest.approx(0.2, abs=0.05) and found.seed_variance < 0.001
    means = [float(np.mean(a - b)) for a, b in zip(ones, others, strict=True)]
    assert found.seed_variance == pytest.approx(np.var(means, ddof=1) / 3)
    with pytest.raises(ValueError, match="two splits"):
        difference_of_splits(ones[:1], others[:1])


def test_on_splits_it_holds_the_true_difference() -> None:
    """1,000 verdicts on 3 splits of the same 300 rows, with noise of rows and of training."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(1000):
        pool = rng.normal(0.1, 1.0, 300)
        drawn = [rng.choice(300, 60, replace=False) for _ in range(3)]
        ones = [pool[rows] + 0.05 * rng.normal() + 0.3 * rng.normal(size=60) for rows in drawn]
        low, high = difference_of_splits(ones, [np.zeros(60)] * 3).interval()
        held += low <= 0.1 <= high
    assert held >= 930
