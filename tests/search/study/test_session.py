"""What only a worker may do, and how several workers share a queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.outcome import Ending, Outcome
from search.storage import transaction
from search.storage.attribute import ATTEMPT, ATTEMPTS, CHECKPOINT, CURVE, GUARDS, LENGTH, WORKER
from search.storage.curve import points_of
from search.storage.failure import FailureKind
from search.storage.lease import LeaseLost
from search.storage.tables import StudyStorage
from search.study.heal import end_worker
from search.study.open import load_study
from search.study.session import Session, join
from tests.search.study.conftest import GUARD, begin, finish, guarded, outcome, point, study_of


def two_sessions(root: Path, *words: str) -> tuple[Session, Session]:
    study = study_of(root, *words)
    return join(study), join(load_study(study.folder))


def test_several_attempts_are_claimed_at_once_and_within_the_budget(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, claims = transaction.claim, []

    def counted(*arguments: object) -> list[int]:
        claims.append(claim(*arguments))  # type: ignore[arg-type]
        return claims[-1]

    session = join(study_of(here, "search.num_trials=5"))
    monkeypatch.setattr(transaction, "claim", counted)
    first = session.next_attempts(3)
    assert [attempt.number for attempt in first] == [0, 1, 2]
    assert [len(claimed) for claimed in claims] == [3]
    assert len({attempt.values["optimizer.lr"] for attempt in first}) == 3
    second = session.next_attempts(3)
    assert [attempt.number for attempt in second] == [3, 4]
    assert session.next_attempts(3) == []
    trials = session.study.optuna.get_trials()
    assert [trial.state.name for trial in trials] == ["RUNNING"] * 5
    assert {trial.user_attrs[WORKER] for trial in trials} == {session.name}


def test_no_more_trials_are_added_than_requested(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=9", "search.portfolio=false"))
    session.next_attempts(2)
    assert len(session.study.trials) == 2


def test_a_returned_trial_is_claimed_before_new_ones(here: Path) -> None:
    one, other = two_sessions(here, "search.num_trials=4")
    attempts = one.next_attempts(2)
    one.hand_back(attempts[1], FailureKind.interrupted, "asked to stop", 1.0)
    assert [(a.number, a.attempt) for a in other.next_attempts(2)] == [(1, 2), (2, 1)]


def test_no_trial_gets_the_values_of_one_that_is_queued_with_them(here: Path) -> None:
    space = ("search/space=none", "data.batch_size=choice(8,16,32)", "strategy.rank=choice(4,8)")
    one, other = two_sessions(here, *space, "strategy=lora", "optimizer.lr=0.001")
    default = one.study.trial(0)
    # Another worker has claimed the default, but has not stored yet that its values are taken.
    assert transaction.claim(other.study.tables, [default._trial_id], other.name)
    (queued,) = one.study.plan.defaults_of_arms
    values = [begin(one).values for _ in range(5)]
    assert queued in list(one.study.plan.space.combinations()) and queued not in values
    assert len({tuple(each.items()) for each in values}) == 5


def test_a_session_that_lost_its_lease_is_refused(here: Path) -> None:
    lost, other = two_sessions(here, "search.num_trials=2")
    attempt = begin(lost)
    (end,) = end_worker(other.study, lost.name, FailureKind.lost, "it gave no sign of life")
    assert end.number == attempt.number and end.ending is None
    for refused in (
        lambda: lost.saved(attempt, 8),
        lambda: lost.progress(attempt, point(1, 0.9)),
        lambda: lost.ended(attempt, outcome(0.9)),
        lambda: lost.hand_back(attempt, FailureKind.failed, "broke", None),
        lambda: lost.next_attempts(3),
    ):
        with pytest.raises(LeaseLost, match="it gave no sign of life"):
            refused()
    assert lost.is_lost and not other.is_lost
    trial = other.study.trial(0)
    assert trial.state.name == "WAITING" and not trial.intermediate_values
    assert (begin(other).number, begin(other).number) == (0, 1)


def test_a_session_that_left_sends_no_heartbeat_and_its_trials_go_to_others(here: Path) -> None:
    gone, other = two_sessions(here, "search.num_trials=1")
    begin(gone)
    assert other.next_attempt() is None
    gone.leave()
    attempt = other.next_attempt()
    assert attempt is not None and (attempt.number, attempt.attempt) == (0, 2)


def test_a_claimed_trial_starts_from_its_current_state(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_sessions(here, "search.num_trials=1")
    claim = transaction.claim

    def after_the_other(
        tables: StudyStorage, trial_ids: Sequence[int], worker: str, num: int, place: str | None
    ) -> list[int]:
        """Let the other worker run it between reading the queue and claiming."""
        monkeypatch.setattr(transaction, "claim", claim)
        attempt = other.next_attempt()
        assert attempt is not None
        (attempt.folder / "checkpoint.pt").write_bytes(b"of the first attempt")
        other.saved(attempt, step=7)
        other.hand_back(attempt, FailureKind.interrupted, "asked to stop", 1.0)
        return claim(tables, trial_ids, worker, num, place)

    monkeypatch.setattr(transaction, "claim", after_the_other)
    attempt = one.next_attempt()
    assert attempt is not None and attempt.attempt == 2
    assert (attempt.folder / "checkpoint.pt").read_bytes() == b"of the first attempt"
    attributes = one.study.trial(0).user_attrs
    assert attributes[ATTEMPT] == 2 and attributes[CHECKPOINT]["step"] == 7
    assert len(attributes[ATTEMPTS]) == 1
    assert "resumes from its checkpoint at step 7" in attempt.notes[0]


def test_a_new_trial_ignores_files_of_another_study_in_its_folder(here: Path) -> None:
    left = here / "studies/s/trials/0000/attempt-1/checkpoint.pt"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of a study whose database is gone")
    attempt = begin(join(study_of(here, "search.num_trials=2")))
    assert attempt.folder == left.parent
    names = sorted(path.name for path in attempt.folder.iterdir())
    assert names == ["attempt.json", "config.yaml"]


def test_a_trial_fails_after_repeated_failed_attempts(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=1", "search.max_attempts=2"))
    first = session.hand_back(begin(session), FailureKind.failed, "broke", 1.0)
    assert first.ending is None
    second = session.hand_back(begin(session), FailureKind.failed, "broke", 2.0)
    assert second.verdict == "2 attempts made no progress; the last: broke"
    trial = session.study.trial(0)
    assert (trial.state.name, trial.user_attrs["ending"]) == ("FAIL", "failed")
    assert trial.user_attrs["attempts"][0] == {
        "attempt": 1,
        "fault": "failed",
        "reason": "broke",
        "step": 0,
        "worker": session.name,
    }
    assert session.study.is_over and session.next_attempt() is None


@pytest.mark.parametrize(
    ("select", "kept"), [("log_loss", ["0001"]), ("cautious_log_loss", ["0000", "0001"])]
)
def test_ended_trials_keep_only_the_best_weights(here: Path, select: str, kept: list[str]) -> None:
    """A cautious rule may come back to the default, trial 0."""
    words = ("search.num_trials=3", "search.keep=1", f"search.select={select}")
    session = join(study_of(here, *words))
    for accuracy in (0.5, 0.9, 0.7):
        attempt = begin(session)
        for name in ("checkpoint.pt", "best.safetensors"):
            (attempt.folder / name).write_bytes(b"weights")
        session.ended(attempt, outcome(accuracy))
    left = sorted(f"{path.parent.parent.name}/{path.name}" for path in here.rglob("*.safetensors"))
    assert left == [f"{number}/best.safetensors" for number in kept]
    assert not list(here.rglob("checkpoint.pt"))


MEDIAN = (
    "search/pruner=median",
    "search.pruner.min_finished=1",
    "search.pruner.min_fraction=0.35",
)


def finish_two(session: Session) -> None:
    """Finish two trials that begin at the level of guessing."""
    for _ in range(2):
        attempt = begin(session)
        session.progress(attempt, point(1, 0.5))
        session.progress(attempt, point(2, 0.9))
        session.ended(attempt, outcome(0.9, 10.0))


@pytest.mark.parametrize("objectives", ["accuracy", "accuracy,seconds"])
def test_only_a_study_with_one_objective_prunes(here: Path, objectives: str) -> None:
    words = (f"search.objectives=[{objectives}]", "search.num_trials=6", *MEDIAN)
    session = join(study_of(here, *words))
    finish_two(session)
    attempt = begin(session)
    assert session.progress(attempt, point(1, 0.4)) is None  # all are at the level of guessing
    reason = session.progress(attempt, point(2, 0.6))
    expected = "below the median of 2 trials by brier after 50% of the run"
    assert reason == (expected if objectives == "accuracy" else None)


def test_a_repeated_validation_is_judged_where_it_was(here: Path) -> None:
    """A later attempt that starts over repeats validations, while its trial has later ones."""
    session = join(study_of(here, "search.num_trials=6", *MEDIAN))
    finish_two(session)
    attempt = begin(session)
    for number, accuracy in ((1, 0.4), (2, 0.95), (3, 0.2)):
        session.progress(attempt, point(number, accuracy))
    assert session.progress(attempt, point(2, 0.95)) is None


def test_the_length_of_a_run_is_stored_with_its_first_validation(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=2"))
    validated, short = begin(session), begin(session)
    assert LENGTH not in session.study.trial(validated.number).user_attrs
    session.progress(validated, point(1, 0.5))
    session.ended(short, outcome(0.5))
    lengths = [trial.user_attrs[LENGTH] for trial in session.study.trials]
    assert lengths == [[1200, 960]] * 2


def test_trials_of_other_arms_are_no_rivals(here: Path) -> None:
    words = (*MEDIAN, "optimizer.lr=1e-3")
    arms = ("strategy=choice(lora,full)", "search.num_trials=6", "data.batch_size=choice(8,16,32)")
    session = join(study_of(here, *words, *arms))
    attempts = session.next_attempts(6)
    for each in attempts:
        session.began(each, num_examples=1200, stable_examples=960)
    for each in attempts[:-1]:
        session.progress(each, point(1, 0.5))
        session.progress(each, point(2, 0.9))
        session.ended(each, outcome(0.9))
    last = attempts[-1]
    session.progress(last, point(1, 0.5))
    reason = session.progress(last, point(2, 0.6))
    num = sum(each.values["strategy"] == last.values["strategy"] for each in attempts) - 1
    assert reason == f"below the median of {num} trials by brier after 50% of the run"


def test_where_the_loss_is_searched_the_metric_is_compared(here: Path) -> None:
    searched = "task.label_smoothing=interval(0,0.2)"
    both = "search.pruner.compare=[validation_loss,metric]"
    session = join(study_of(here, "search.num_trials=6", *MEDIAN, searched, both))
    finish_two(session)
    attempt = begin(session)
    reason = session.progress(attempt, point(2, 0.6))
    assert reason == "below the median of 2 trials by metric after 50% of the run"


@pytest.mark.parametrize("compare", ["metric", "validation_loss"])
def test_trials_of_an_earlier_version_have_the_metric_alone(here: Path, compare: str) -> None:
    rule = (f"search.pruner.compare=[{compare}]", "search.pruner.at_equal=examples")
    session = join(study_of(here, "search.num_trials=6", *MEDIAN, *rule))
    storage = session.study.optuna._storage
    for _ in range(2):
        attempt = begin(session)
        for number, accuracy in ((1, 0.5), (2, 0.9)):
            storage.set_trial_intermediate_value(attempt.trial_id, 300 * number, accuracy)
        session.ended(attempt, outcome(0.9))
    reason = session.progress(begin(session), point(2, 0.6))
    expected = "below the median of 2 trials by metric after 600 examples"
    assert reason == (expected if compare == "metric" else None)


def test_a_validation_is_stored_whole_and_once(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=1"))
    attempt = begin(session)
    for again in range(2):  # a later attempt may repeat it
        session.progress(attempt, point(1, 0.5 + again / 10))
    session.progress(attempt, point(2, 0.7))
    trial = session.study.trial(0)
    assert trial.intermediate_values == {300: 0.5, 600: 0.7}  # what stock tools show
    first, second = points_of(trial.system_attrs[CURVE])
    assert (first.step, first.examples, first.epoch) == (10, 300, 0.5)
    assert (second.validation_loss, second.metrics["log_loss"]) == (0.3, 0.3)
    assert CURVE not in trial.user_attrs


def test_a_validation_is_stored_completely_or_not_at_all(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = join(study_of(here, "search.num_trials=1"))
    attempt = begin(session)

    def broken(*_: object) -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr(transaction, "set_user", broken)  # the last of the three writes
    with pytest.raises(RuntimeError):
        session.progress(attempt, point(1, 0.5))
    trial = session.study.trial(0)
    assert not trial.intermediate_values and CURVE not in trial.system_attrs


def test_a_guard_is_stored_as_a_constraint_that_optuna_knows(here: Path) -> None:
    session = join(study_of(here, GUARD, "search.num_trials=2"))
    for loss in (0.45, 0.6):
        session.ended(begin(session), guarded(0.7, loss))
    kept, broken = session.study.trials
    assert kept.constraints["guard old"] == pytest.approx(-0.1)
    assert broken.constraints["guard old"] == pytest.approx(0.2)
    assert broken.user_attrs[GUARDS]["old"]["value"] == 0.6
    assert broken.state.name == "COMPLETE" and broken.value == 0.7


def ran_out() -> Outcome:
    reason = "one example of 400 tokens does not fit into memory"
    return replace(outcome(0.5, ending=Ending.infeasible), reason=reason)


def test_a_trial_that_ran_out_of_memory_beside_another_is_tried_alone(here: Path) -> None:
    one, other = two_sessions(here, "search.num_trials=4", "trainer.device=cpu")
    small, large = begin(one), begin(other)
    end = other.retry_alone(large, ran_out())
    assert end is not None and end.ending is None
    assert end.reason == "one example of 400 tokens does not fit into memory, beside other trials"

    # It does not start beside the other, and nothing else starts before it.
    assert other.next_attempts(2) == [] and len(one.study.trials) == 2
    one.ended(small, outcome(0.5))
    (alone,) = one.next_attempts(2)
    assert (alone.number, alone.attempt, alone.micro_batch_size) == (large.number, 2, None)
    assert alone.notes[-1] == "trial 1 trains alone: no other trial uses its memory meanwhile"
    assert other.next_attempt() is None

    # It was alone now, so it is infeasible.
    assert one.retry_alone(alone, ran_out()) is None
    one.ended(alone, ran_out())
    trial = one.study.trial(large.number)
    assert (trial.state.name, trial.user_attrs["ending"]) == ("PRUNED", "infeasible")
    assert [end["fault"] for end in trial.user_attrs[ATTEMPTS]] == ["out of memory beside others"]
    assert {begin(one).number, begin(other).number} == {2, 3}


def test_a_trial_without_neighbours_is_infeasible_at_once(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=2"))
    finish(session, 0.5)
    assert session.retry_alone(begin(session), ran_out()) is None


def test_two_trials_that_ran_out_beside_each_other_take_turns(here: Path) -> None:
    one, other = two_sessions(here, "search.num_trials=2", "trainer.device=cpu")
    first, second = begin(one), begin(other)
    assert one.retry_alone(first, ran_out()) is not None
    assert other.retry_alone(second, ran_out()) is not None
    alone = begin(one)
    assert other.next_attempt() is None
    assert one.retry_alone(alone, ran_out()) is None
    one.ended(alone, ran_out())
    last = begin(other)
    assert {alone.number, last.number} == {0, 1}
    assert other.retry_alone(last, ran_out()) is None


def test_a_worker_on_another_gpu_is_no_neighbour(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_sessions(here, "search.num_trials=2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    begin(one)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert other.retry_alone(begin(other), ran_out()) is None


@pytest.mark.parametrize(
    ("gpus", "beside", "kind", "micro_batch_size"),
    [
        ("", True, "out of memory beside others", None),
        ("", False, "out of memory", 16),  # on a CPU a smaller one takes less of this memory
        ("0,1", True, "out of memory beside others", None),
        ("0,1", False, "crashed", None),
    ],
)
def test_a_kill_by_the_kernel_halves_the_micro_batch_on_a_cpu_alone(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpus: str,
    kind: str,
    micro_batch_size: int | None,
    *,
    beside: bool,
) -> None:
    words = ("search.num_trials=2", "data.batch_size=32")
    one, other = two_sessions(here, *words)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus[:1])
    killed = begin(one)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus[-1:])
    if beside:
        neighbour = begin(other)
    reason = "the kernel killed the worker: the machine's memory ran out"
    (end,) = end_worker(other.study, one.name, FailureKind.out_of_memory, reason)
    assert end.ending is None
    trial = other.study.trial(killed.number)
    assert [end["fault"] for end in trial.user_attrs[ATTEMPTS]] == [kind]
    if beside:
        assert other.next_attempt() is None
        other.ended(neighbour, outcome(0.5))
    again = begin(other)
    assert (again.number, again.micro_batch_size) == (killed.number, micro_batch_size)
