"""Load a study's winner, or a run, as a predictor; export it to a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.check import check_same_rows
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.export.model import Card, check_merge, save_exported
from lightning_modules.folder import BEST_FILE, LABELS_FILE, OUTCOME_FILE
from lightning_modules.outcome import Outcome, read_outcome
from lightning_modules.rows.corpus import SPLITS, Corpus
from lightning_modules.rows.spelling import Spelling
from lightning_modules.run import Run
from lightning_modules.task.label import of_export
from search.machine.quiet import quiet_training
from search.report.guard import guard_line
from search.report.results import status
from search.storage.attribute import METRICS, WORKER
from search.storage.location import CERTIFY
from search.study.ask import check_trained
from search.study.follow import follow_up, refuse_follow_up
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from lightning_modules.export.predictor import Predictor
    from search.certificate.certificate import Certified


@dataclass(frozen=True)
class Trained:
    """A trained run with its files.

    Attributes:
        run: Its configuration.
        folder: The folder of its files.
        origin: Its name in messages, e.g. `study mine, trial 3`.
        scores: Its best validation metrics.
        fingerprint: Fingerprint of the rows it was trained on.
        study: The study whose test rows a look counts for; None outside any study.
        is_of_pool: Whether the fingerprint does not depend on which rows validate.

    """

    run: Run
    folder: Path
    origin: str
    scores: Mapping[str, float]
    fingerprint: str
    study: Study | None = None
    is_of_pool: bool = False

    def check(self, corpus: Corpus) -> None:
        """Raise DataError unless the rows are those that it was trained on."""
        found = corpus.pool_fingerprint if self.is_of_pool else corpus.fingerprint
        check_same_rows(found, self.fingerprint)

    def outcome(self) -> Outcome:
        """Return how the training ended, with its curve."""
        return read_outcome(self.folder / OUTCOME_FILE)

    def load(self, *, for_export: bool = False) -> Predictor:
        """Return the network with its best weights; `for_export` as `load_trained` has it."""
        from lightning_modules.export.predictor import load_trained

        labels = json.loads((self.folder / LABELS_FILE).read_text(encoding="utf-8"))
        is_written = getattr(self.run.data, "spelling", None) is Spelling.written
        found = labels if is_written else of_export(labels, self.run.task.cells.get("label"))
        return load_trained(self.run, self.folder, found, for_export=for_export)


def winner(study: Study) -> Trained:
    """Return the study's best trial; raise ConfigError if there is none.

    If it is certified, that is its certified run of median validation score.
    """
    check_trained(study)
    refuse_follow_up(study.plan.name, study.plan.composition)
    best = study.best
    if best is None:
        states = ", ".join(f"{n} {name}" for name, n in status(study)["states"].items() if n)
        rule = "must have a finished trial"
        fix = f"Continue it with finesweep sweep study={study.plan.name}."
        raise ConfigError(Problem("study", rule, Verbatim(states or "no trial"), fix))
    certified = certified_winner(study)
    if certified is not None:
        run = certified_run(study, *certified)
        if (run.folder / BEST_FILE).is_file():
            return run
    folder = study.folder_of(best)
    if not (folder / BEST_FILE).is_file():
        rule = f"trial {best.number} must have its weights in {folder}"
        fix = f"Worker {best.user_attrs.get(WORKER)} trained it: copy the folder from its machine."
        raise ConfigError(Problem("study", rule, Verbatim("no such file"), fix))
    return _trained(study, best)


def certified_winner(study: Study) -> tuple[Study, FrozenTrial] | None:
    """Return the certified run of the best trial that is exported, and its study.

    None if the best trial is not certified. The files of the run may be on another machine.
    """
    found, certifying = study.certificate, follow_up(study, CERTIFY)
    if found is None or certifying is None:
        return None
    return certifying, exported_run(certifying, found.first)


def exported_run(certifying: Study, side: Certified) -> FrozenTrial:
    """Return the run of median validation score of a certified configuration.

    If it has lost its weights, because it became the median when seeds were added, it is the run
    nearest to it that has them; if none has, because they are on another machine, the median.
    """
    runs = [certifying.trial(number) for number in side.from_median]
    held = (run for run in runs if (certifying.folder_of(run) / BEST_FILE).is_file())
    return next(held, runs[0])


def certified_run(study: Study, certifying: Study, run: FrozenTrial) -> Trained:
    """Return a run of a certificate as a trained model.

    Args:
        study: The study.
        certifying: The study of the certificate's runs.
        run: Its trial there.

    """
    follows = certifying.plan.composition.follows
    assert follows is not None
    origin = f"study {follows.study}, certified run {run.number}"
    return replace(_trained(certifying, run), origin=origin, study=study)


def finished_trial(study: Study, number: int) -> Trained:
    """Return a finished trial of a study.

    Raises:
        ConfigError: It is not finished, or its weights were not kept; names the trials that can be
            exported.

    """
    check_trained(study)
    follows = study.plan.composition.follows
    if follows is None or follows.kind != CERTIFY:  # the exported one has its weights
        refuse_follow_up(study.plan.name, study.plan.composition)
    name = study.plan.name
    trials = {trial.number: trial for trial in study.trials}
    trial = trials.get(number)
    if trial is None or trial.state.name != "COMPLETE":
        state = "no such trial" if trial is None else trial.state.name.lower()
        rule = f"must be a finished trial of study {name}"
        raise ConfigError(Problem("trial", rule, Verbatim(f"{number} ({state})"), _kept(study)))
    if not (study.folder_of(trial) / BEST_FILE).is_file():
        kept = f"search.keep={study.plan.search.settings.keep} keeps those of the best"
        if follows is not None:
            kept = "a certificate keeps those of one run of each configuration"
        got = Verbatim(f"{number} ({kept}, where they trained)")
        again = f"finesweep train study={name} trial={number}"
        fix = f"Train it again with {again}, then export run={name}-trial-{number}."
        rule = "its weights must be here"
        raise ConfigError(Problem("trial", rule, got, f"{_kept(study)} {fix}"))
    return _trained(study, trial)


def _trained(study: Study, trial: FrozenTrial) -> Trained:
    return Trained(
        study.plan.run(study.params_of(trial)),
        study.folder_of(trial),
        f"study {study.plan.name}, trial {trial.number}",
        trial.user_attrs[METRICS],
        study.data_fingerprint,
        study,
        is_of_pool=study.plan.composition.follows is not None,
    )


def _kept(study: Study) -> str:
    """Return which trials can be exported, as a sentence."""
    numbers = [
        str(trial.number)
        for trial in study.trials
        if trial.state.name == "COMPLETE" and (study.folder_of(trial) / BEST_FILE).is_file()
    ]
    return f"With weights: {', '.join(numbers)}." if numbers else "None has its weights."


def export(trained: Trained, to: Path, *, merge: bool = True) -> None:
    """Write the trained model to a new folder, completely or not at all.

    Args:
        trained: The trained run.
        to: The folder.
        merge: Whether adapters are merged into the weights; if not, they are written alone.

    Raises:
        ConfigError: `to` already exists, or the run has no adapters to write alone.

    """
    check_new(to)
    check_merge(trained.run, merge=merge)
    flat = trained.run.flat()
    card = Card(
        title=f"{flat['model']} for {flat['task']}, by {flat['strategy']}",
        facts={
            "made by": f"finesweep, {trained.origin}",
            **_facts(trained.run),
            **_guards(trained.outcome()),
        },
        scores=trained.scores,
    )
    draft = to.with_name(f".{to.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    save_exported(trained.load(for_export=True), trained.run, card, draft, merge=merge)
    draft.replace(to)  # replaces an empty folder


def export_winner(study: Study, to: Path) -> None:
    """Write the winner's model to a new folder; raise ConfigError if there is none."""
    quiet_training()
    export(winner(study), to)


def check_new(to: Path) -> None:
    """Raise ConfigError unless `to` is new or an empty folder."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        rule = "must be a new or empty folder"
        fix = "Nothing is overwritten: choose another folder."
        raise ConfigError(Problem("to", rule, str(to), fix))


def _guards(outcome: Outcome) -> dict[str, str]:
    """Return what the model scored on the data of guards, by the guard's name."""
    lines = (guard_line(each).partition(": ") for each in outcome.guards)
    return {name: found for name, _, found in lines}


def _facts(run: Run) -> dict[str, str]:
    flat = run.flat()
    files = {f"data.{split}": flat.get(f"data.{split}") for split in SPLITS}
    shown: dict[str, Any] = {
        **{path: flat[path] for path in ("model", "strategy", "task", "data")},
        # Names only: paths of this machine must not be published.
        **{path: Path(file).name for path, file in files.items() if file is not None},
        **{path: flat[path] for path in ("data.text", "data.label") if path in flat},
        **{path: flat[path] for path in ("optimizer.lr", "data.batch_size", "trainer.epochs")},
    }
    return {
        path: f"{value:.6g}" if isinstance(value, float) else str(value)
        for path, value in shown.items()
        if run.strategy.has_use_for(path)
    }
