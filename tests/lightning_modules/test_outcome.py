from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.outcome import (
    Ending,
    Outcome,
    Point,
    Record,
    Stopped,
    fit_verdict,
    read_outcome,
)


def point(number: int, train_loss: float = 0.5, validation_loss: float = 0.5) -> Point:
    return Point(
        number=number,
        step=10 * number,
        examples=160 * number,
        epoch=number / 2,
        train_loss=train_loss,
        validation_loss=validation_loss,
        metrics={"accuracy": 0.75},
        seconds=1.5 * number,
    )


def curve(train_losses: list[float], validation_losses: list[float]) -> list[Point]:
    pairs = zip(train_losses, validation_losses, strict=True)
    return [point(number, *losses) for number, losses in enumerate(pairs, start=1)]


@pytest.mark.parametrize("best", [None, point(1)])
def test_a_record_survives_json(best: Point | None) -> None:
    record = Record(20, 3.25, 0.1, 4, [point(1), point(2)], best)
    assert Record.from_dict(json.loads(json.dumps(record.as_dict()))) == record


def test_a_new_record_survives_as_dict() -> None:
    assert Record.from_dict(Record().as_dict()) == Record()


def test_records_do_not_share_points() -> None:
    Record().points.append(point(1))
    assert Record().points == []


def outcome_of(ending: Ending, best: Point | None) -> Outcome:
    return Outcome(
        ending=ending,
        reason="trained to the end, epoch 2",
        best=best,
        points=(point(1), point(2)),
        seconds=3.0,
        num_trainable=6,
        num_parameters=10,
        hardware="cpu x 2 ranks, fp32: no GPU",
        num_threads=2,
        verdict="fine",
        devices="cpu x 2 ranks",
    )


@pytest.mark.parametrize("ending", Ending)
def test_an_outcome_becomes_plain_values(ending: Ending) -> None:
    values = json.loads(json.dumps(outcome_of(ending, point(2)).as_dict()))
    assert values["ending"] == ending.value
    assert values["best"]["metrics"] == {"accuracy": 0.75}
    assert [each["number"] for each in values["points"]] == [1, 2]


@pytest.mark.parametrize("best", [None, point(2)])
@pytest.mark.parametrize("ending", Ending)
def test_a_stored_outcome_is_read_back(here: Path, ending: Ending, best: Point | None) -> None:
    outcome = outcome_of(ending, best)
    (here / "outcome.json").write_text(json.dumps(outcome.as_dict()))
    assert read_outcome(here / "outcome.json") == outcome


def test_an_outcome_without_devices_takes_them_from_the_hardware(here: Path) -> None:
    outcome = outcome_of(Ending.finished, None)
    values = outcome.as_dict()
    del values["devices"]  # as earlier versions stored it
    (here / "outcome.json").write_text(json.dumps(values))
    assert read_outcome(here / "outcome.json") == outcome


def test_stopped_holds_the_ending_and_the_reason() -> None:
    stop = Stopped(Ending.pruned, "worse than half of the others")
    assert stop.ending is Ending.pruned
    assert str(stop) == stop.reason == "worse than half of the others"


def test_a_rising_validation_loss_with_a_falling_training_loss_overfits() -> None:
    verdict = fit_verdict(curve([0.6, 0.3, 0.1], [0.5, 0.4, 0.8]))
    assert verdict == (
        "overfits: the validation loss rose from 0.400 at epoch 1 to 0.800 while the training "
        "loss fell to 0.100; try fewer epochs or a lower learning rate"
    )


def test_a_still_falling_validation_loss_underfits() -> None:
    verdict = fit_verdict(curve([0.9, 0.7, 0.5], [0.9, 0.7, 0.5]))
    assert verdict == (
        "was still improving when it ended (validation loss 0.700 to 0.500), so it underfits; "
        "try more epochs or a higher learning rate"
    )


def test_a_single_epoch_that_improves_is_not_called_underfitting() -> None:
    # `curve` has two validations per epoch.
    assert fit_verdict(curve([0.9, 0.7], [0.9, 0.7])) == (
        "was still improving when its only epoch ended (validation loss 0.900 to 0.700); more "
        "epochs or a higher learning rate may help"
    )


def test_a_run_that_ended_within_its_first_epoch_is_not_called_underfitting() -> None:
    short = curve([0.9, 0.7], [0.9, 0.7])
    points = [replace(point, epoch=point.epoch / 5) for point in short]
    assert [point.epoch for point in points] == pytest.approx([0.1, 0.2])
    assert fit_verdict(points) == (
        "was still improving when it ended within its first epoch, at 0.2 (validation loss "
        "0.900 to 0.700); more steps or a higher learning rate may help"
    )


def test_a_flat_end_neither_overfits_nor_underfits() -> None:
    verdict = fit_verdict(curve([0.9, 0.5, 0.45], [0.8, 0.5, 0.5]))
    assert verdict == (
        "neither overfits nor underfits: training and validation loss levelled off at 0.450 and "
        "0.500"
    )


@pytest.mark.parametrize("losses", [[7.41, 7.28], [0.51, 0.5], [7.41, 7.3, 7.28]])
def test_one_epoch_that_changes_little_is_not_called_level(losses: list[float]) -> None:
    points = [replace(each, epoch=each.epoch / 2) for each in curve(losses, losses)]
    assert fit_verdict(points) == (
        f"changed little over its {len(losses)} validations (validation loss {losses[0]:.3f} to "
        f"{losses[-1]:.3f}), but was too short to show that it levelled off; try more epochs or a "
        "higher learning rate"
    )


@pytest.mark.parametrize("losses", [[0.9, 0.5, 0.5], [0.9, 0.5], [0.5, 0.5, 0.9]])
def test_a_run_that_learnt_nothing_has_no_other_verdict(losses: list[float]) -> None:
    assert fit_verdict(curve(losses, losses), "has not learnt: why") == "has not learnt: why"


def test_a_wide_gap_that_does_not_grow_needs_more_data() -> None:
    verdict = fit_verdict(curve([0.6, 0.3, 0.1], [0.5, 0.4, 0.4]))
    assert verdict == (
        "fits its training rows better than new ones (loss 0.100 against 0.400), but the "
        "validation loss did not rise; more data would help"
    )


def test_a_slightly_risen_validation_loss_is_reported() -> None:
    verdict = fit_verdict(curve([3.7, 2.2, 1.8], [4.6, 4.44, 4.58]))
    assert verdict == (
        "fits its training rows better than new ones (loss 1.800 against 4.580), and the "
        "validation loss rose slightly from 4.440 at epoch 1; more data would help"
    )


def test_two_rising_losses_are_unstable_rather_than_overfitting() -> None:
    assert fit_verdict(curve([0.5, 0.9], [0.5, 0.9])) == (
        "was unstable: the validation loss was 0.500 at epoch 0.5 but 0.900 at the end, and the "
        "training loss did not improve (0.900); try a lower learning rate"
    )


@pytest.mark.parametrize("points", [[], [point(1)]])
def test_a_single_validation_shows_neither(points: list[Point]) -> None:
    assert fit_verdict(points) == (
        "had too few validations to show whether it overfits or underfits"
    )


def test_a_loss_above_its_lowest_is_not_still_improving() -> None:
    verdict = fit_verdict(curve([0.5, 0.7, 0.6], [0.5, 1.0, 0.9]))
    assert "still improving" not in verdict
