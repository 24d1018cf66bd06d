"""Score the runs of a certificate on the test rows, once, and draw up the certificate.

A run is scored by a process that leads the study, after all runs have ended; if there are several,
e.g. on two hosts, one after the other. Before it reads the test rows it stores that it looks at
them, and afterwards what the run scored there; so a run that has a score is never scored again, and
one whose scoring was killed counts as two looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from lightning_modules.check import check_same_rows
from lightning_modules.folder import BEST_FILE
from lightning_modules.rows.corpus import Corpus, Row
from search.certificate.certificate import Certificate, Rows, write_certificates
from search.certificate.difference import Difference, Scores, difference, difference_of_splits
from search.machine.quiet import quiet_training
from search.plan.certify import fresh_of, rows_of
from search.storage.attribute import REASON, SECONDS, WORKER, broken_guards
from search.storage.location import root_of, study_folder
from search.study.attempt import tidy
from search.study.certify import certifying_study, winner_and_other
from search.study.open import load_study, read_stored
from search.study.scorer import scorer
from search.study.study import Study
from search.trained.export import certified_run, exported_run
from search.trained.side import UNSPLIT, Scored, Side, has_result, scores_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Say = Callable[..., Any]


def certify_winner(study: Study, say: Say, corpus: Corpus | None = None) -> list[Certificate]:
    """Score the runs of the winner and of what it is compared with, and store the certificate.

    Args:
        study: The study.
        say: Prints a line.
        corpus: The study's rows, if they have been read.

    """
    pair = winner_and_other(study)
    sides = [] if pair is None else [Side.of(study, trial) for trial in pair]
    one, other = sides or (None, None)
    if one is None or other is None:
        return []
    return certify(study, [(one, other)], say, corpus)


def certify(
    study: Study, pairs: Sequence[tuple[Side, Side]], say: Say, corpus: Corpus | None = None
) -> list[Certificate]:
    """Score the runs of pairs of configurations, and store their certificates.

    Those that the study has already are drawn up again, for all comparisons together. The verdicts
    on the winner are stored first, and one verdict on two configurations, whichever is named first.

    Args:
        study: The study whose certificates they are.
        pairs: Each configuration with the one that it is compared with.
        say: Prints a line.
        corpus: The study's rows, if they have been read.

    Returns: The certificates, these first; none if a comparison cannot be drawn up yet, which is
    said.

    """
    if corpus is None:
        corpus = study.plan.default.data.load(study.plan.default.task)
        check_same_rows(corpus.fingerprint, study.data_fingerprint)
    rows = corpus.splits["test"] if rows_of(study.plan) is Rows.test else ()
    with ExitStack() as held:
        if rows:
            _score([*pairs, *_earlier(study, pairs)], rows, held, say)
        return _draw_up(study, pairs, corpus, say)


def _draw_up(
    study: Study, asked: Sequence[tuple[Side, Side]], corpus: Corpus, say: Say
) -> list[Certificate]:
    """Store the certificates of pairs whose runs have been scored, and of those before them."""
    pairs = [*asked, *_earlier(study, asked)]
    found = []
    num_comparisons = len({frozenset(map(_key, pair)) for pair in pairs})
    for one, other in pairs:
        drawn = _certificate(study, one, other, corpus, num_comparisons)
        if isinstance(drawn, str):
            say(f"no certificate: {drawn}")
        else:
            found.append(drawn)
    if found:
        best = study.best
        winner = None if best is None else best.number
        kept = _each_once(
            sorted(
                found,
                key=lambda each: (each.first.trial != winner, each.second.study != each.study),
            )
        )
        study.store_certificates(kept)
        write_certificates(study.folder, kept)
        _delete_weights(study, kept, say)
    return _each_once(found)


def _delete_weights(study: Study, certificates: Sequence[Certificate], say: Say) -> None:
    """Delete the weights of the study's runs that have a score and will not be exported.

    Of each configuration those of the run that would be exported stay; all stay if `search.keep` is
    as high as their number.
    """
    certifying = certifying_study(study)
    if certifying is None or study.plan.search.settings.keep >= len(certifying.trials):
        return
    sides = [side for each in certificates for side in (each.first, each.second)]
    own = [side for side in sides if side.study == study.plan.name]
    kept = {exported_run(certifying, side).number for side in own}
    for number in {run for side in own for run in side.runs} - kept:
        try:
            tidy(certifying.folder_of(certifying.trial(number)), keep_best=False)
        except OSError as error:  # e.g. another user's worker trained it; the certificate is there
            say(f"the weights of certified run {number} could not be deleted: {error}")


def _key(side: Side) -> tuple[str, int]:
    return side.study.plan.name, side.trial.number


def _each_once(found: Sequence[Certificate]) -> list[Certificate]:
    """Return certificates without the later one of two on the same pair, in either order."""
    pairs: dict[frozenset[tuple[str, int]], Certificate] = {}
    for each in found:
        pairs.setdefault(frozenset((s.study, s.trial) for s in (each.first, each.second)), each)
    return list(pairs.values())


def _earlier(study: Study, pairs: Sequence[tuple[Side, Side]]) -> Iterator[tuple[Side, Side]]:
    """Yield the pairs of the study's certificates that are not among these."""
    known = {tuple(map(_key, pair)) for pair in pairs}
    for each in study.certificates:
        key = tuple((one.study, one.trial) for one in (each.first, each.second))
        if key in known:
            continue
        sides = [_side(study, name, number) for name, number in key]
        if sides[0] is not None and sides[1] is not None:
            yield sides[0], sides[1]


def _side(study: Study, name: str, number: int) -> Side | None:
    """Return a trial of this or another study with its runs; None if it is gone."""
    if name != study.plan.name:
        folder = study_folder(root_of(study.folder), name)
        if read_stored(folder) is None:
            return None
        study = load_study(folder)
    trial = next((each for each in study.trials if each.number == number), None)
    return None if trial is None else Side.of(study, trial)


def _score(
    pairs: Sequence[tuple[Side, Side]], rows: Sequence[Row], held: ExitStack, say: Say
) -> None:
    """Score the runs of configurations on the test rows, unless they have a score already.

    Args:
        pairs: The configurations.
        rows: The test rows.
        held: Keeps other processes from scoring these runs until it is closed.
        say: Prints a line.

    """
    sides = list({id(side): side for pair in pairs for side in pair}.values())
    todo = [(side, runs) for side in sides if (runs := list(_unscored(side, say)))]
    studies = {side.certifying.folder: side.certifying for side, _ in todo}
    # In one order, so that two processes that compare two studies do not wait for each other.
    own = {path: held.enter_context(scorer(studies[path], say)) for path in sorted(studies)}
    for side, runs in todo:
        certifying = own[side.certifying.folder]
        known = certifying.scored  # another process may have scored some meanwhile
        if left := [run for run in runs if run.number not in known]:
            quiet_training()
            what = f"trial {side.trial.number}, {len(left)} run{'s' * (len(left) != 1)}"
            say(f"scoring {what} on {len(rows):,} test rows", flush=True)
        for run in left:
            _score_run(side.study, certifying, run, f"trial {side.trial.number}", rows, say)


def _unscored(side: Side, say: Say) -> Iterator[FrozenTrial]:
    """Yield the runs of a configuration without a score that can be scored here; say why not."""
    known, comparable = side.certifying.scored, side.comparable
    if len(comparable) < len(side.with_result):
        metric, name = side.study.plan.default.task.metric, f"trial {side.trial.number}"
        rule = f"{metric} is not defined without some of the rows, so that it has no interval"
        say(f"{name}: {rule}; such runs are not scored on the test rows")
    for run in comparable.values():
        if run.number in known:
            continue
        if (side.certifying.folder_of(run) / BEST_FILE).is_file():
            yield run
        else:
            worker, name = run.user_attrs.get(WORKER), side.study.plan.name
            fix = f"run finesweep certify study={name} there"
            say(f"run {run.number} has its weights where worker {worker} trained it: {fix}")


def _score_run(
    study: Study, certifying: Study, run: FrozenTrial, name: str, rows: Sequence[Row], say: Say
) -> None:
    """Look at the test rows with a run, and store what it scored there."""
    predictor = certified_run(study, certifying, run).load()
    if run.number in certifying.scored:  # raises LeaseLost in a process that was stopped too long
        return
    study.look(f"certificate: {name}, run {run.number}")
    evaluation = predictor.evaluate(rows)
    metric, parts = evaluation.task.metric, evaluation.row_scores()
    if parts is None:
        say(f"run {run.number}: {metric} is not defined without some of the test rows")
        certifying.store_scored(run.number, UNSPLIT)
        return
    scored = Scored(evaluation.scores()[metric], parts, evaluation.num_scored)
    certifying.store_scored(run.number, scored.as_dict())


def _certificate(
    study: Study, one: Side, other: Side, corpus: Corpus, num_comparisons: int
) -> Certificate | str:
    """Return the certificate of two configurations, or why there is none."""
    plan = study.plan
    metric, rows = plan.default.task.metric, rows_of(plan)
    ones, others = scores_of(one, corpus), scores_of(other, corpus)
    if rows is Rows.splits:  # a split is compared with itself
        both = {
            split
            for split in ones.keys() & others.keys()
            if ones[split].parts.rows == others[split].parts.rows
        }
        ones, others = ({split: side[split] for split in both} for side in (ones, others))
    for side, scored in ((one, ones), (other, others)):
        if len(scored) < side.num_needed:
            name = f"trial {side.trial.number} of study {side.study.plan.name}"
            return f"{name} has {len(scored)} scored runs, and needs {side.num_needed}"
    keys = {each.parts.rows for scored in (ones, others) for each in scored.values()}
    if rows is not Rows.splits and len(keys) > 1:
        return "the two have scored other rows"
    sign = -1 if plan.default.task.goals[metric] == "minimize" else 1
    seeds, other_seeds = sorted(ones), sorted(others)
    return Certificate(
        study=plan.name,
        metric=metric,
        is_minimized=sign < 0,
        rows=rows,
        num_rows=min(each.num_rows for each in (*ones.values(), *others.values())),
        first=one.certified(ones, seeds),
        second=other.certified(others, other_seeds),
        difference=_difference(one, other, ones, others, sign, rows),
        what=fresh_of(plan).what,
        num_comparisons=num_comparisons,
        num_looks=len(study.looks),
        searched_seconds=sum(float(t.user_attrs.get(SECONDS, 0)) for t in study.trials),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("finesweep"),
        problems=tuple(_problems(study, [(one, ones), (other, others)])),
    )


def _difference(
    one: Side,
    other: Side,
    ones: Mapping[int, Scored],
    others: Mapping[int, Scored],
    sign: int,
    rows: Rows,
) -> Difference:
    parts = [
        [[sign * part for part in scored[seed].parts.values] for seed in sorted(scored)]
        for scored in (ones, others)
    ]
    if rows is Rows.splits:
        return difference_of_splits(*parts, is_exact=one.is_exact and other.is_exact)
    return difference(
        Scores.of(parts[0], is_exact=one.is_exact), Scores.of(parts[1], is_exact=other.is_exact)
    )


def _problems(study: Study, sides: Sequence[tuple[Side, Mapping[int, Scored]]]) -> Iterator[str]:
    for side, scored in sides:
        lost = {seed: run for seed, run in side.runs.items() if not has_result(run)}
        for seed, run in lost.items():
            why = run.user_attrs.get(REASON) or run.state.name.lower()
            if broken := broken_guards(run.system_attrs):
                why = f"it breaks {', '.join(broken)}"
            name = f"trial {side.trial.number} has no score with {fresh_of(study.plan).what} {seed}"
            yield f"{name}: {why}"
        for seed, run in side.with_result.items():
            if seed not in scored:  # e.g. its weights are on another machine
                name = f"run {run.number} of trial {side.trial.number}"
                yield f"{name} is not counted, because it has no score to compare"
        if len(side.runs) < side.num_queued and not side.is_exact:
            yield f"trial {side.trial.number} has {len(side.runs)} of {side.num_queued} runs"
