"""Train one run outside any study: a new configuration, or a study's trial again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.check import CheckedRows, check_run
from lightning_modules.error import ConfigError, Problem, UserError, Verbatim
from lightning_modules.folder import (
    CHECKPOINT_PARTS,
    OUTCOME_FILE,
    START_FILES,
    TOKENIZER_FOLDER,
)
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.machine.file import write_json, write_text
from lightning_modules.model.base import Model
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.rows.corpus import Corpus
from lightning_modules.run import Run
from search.config import (
    Arm,
    Composition,
    Tree,
    build_run,
    check_same,
    completed,
    continued,
    name_plugins,
    packages_of,
    run_tree,
    to_yaml,
)
from search.config.length import TOKENS
from search.estimate.max_length import with_max_length
from search.machine.provenance import PROVENANCE_FILE, provenance
from search.machine.quiet import import_training
from search.plan.device import check_devices
from search.plan.download import download_of
from search.plan.length import length_lines, read_rows, short_notes, with_length
from search.plan.pin import with_commits
from search.plan.tokens import special_lines, token_lines
from search.report.wandb import tags_of
from search.study.attempt import CONFIG_FILE
from search.trained.find import find_study
from search.trained.repeat import Repeat, find_repeat
from search.trained.runs import (
    METRICS_FILE,
    alone,
    check_rows,
    new_run_folder,
    read_config,
    read_tree,
)


@dataclass(frozen=True)
class Job:
    """One run to train.

    Attributes:
        run: The run.
        config: Its resolved configuration, as YAML.
        folder: The folder for its files.
        repeat: The trial that it repeats, if any.
        arm: Its composed configuration; None if it repeats a trial or is continued.
        corpus: Its rows, if they have been read.
        kept: Settings of a continued run that a new one would not have, as text.

    """

    run: Run
    config: str
    folder: Path
    repeat: Repeat | None = None
    arm: Arm | None = None
    corpus: Corpus | None = None
    kept: Sequence[str] = ()


def job_of(composition: Composition) -> Job:
    """Return the job of a configuration; its folder must not contain a finished run.

    Raises:
        ConfigError: The configuration names a setting that differs from the interrupted run's.

    """
    folder = new_run_folder(composition.tree["run"])
    before = _stored(folder)
    composition = with_commits(composition, named_only=before is not None)
    named = composition.arms[0].words  # without what the rows decide, as they did when it began
    corpus = read_rows(composition)
    composition = with_max_length(with_length(composition, corpus), corpus, load=True)
    name_plugins(packages_of(composition.tree))
    (arm,), tree = composition.arms, run_tree(composition.tree)
    if before is None:
        return Job(build_run(composition.tree), to_yaml(tree), folder, arm=arm, corpus=corpus)
    tree, kept = continued(tree, named, before)
    return Job(build_run(tree), to_yaml(tree), folder, kept=kept)


def notes_of(job: Job, rows: CheckedRows) -> list[str]:
    """Return where a job's model and defaults come from, and its length, to show at its start."""
    run = job.run
    leaks = [f"note {rows.corpus.left_out}"] if rows.corpus.left_out else []
    if run.task.reads_instructions:  # how prompts are written from the columns
        said = (line for line in rows.corpus.notes if line != rows.corpus.left_out)
        leaks += [f"note {line}" for line in said]
    download = download_of(run.model, weights=run.strategy.reads_weights)
    hub = [] if download is None else [f"hub {download.text}", download.note]
    head = run.strategy.head_note(run.model, run.task, rows.labels)
    hub += [f"head {head}"] if head else []
    of_model = (*run.model.notes(), *run.task.model_notes(run.model))
    hub += [f"note {line}" for line in of_model]
    is_auto = job.arm is not None and TOKENS in (*job.arm.open, *job.arm.decided)
    lines = token_lines(run, rows.corpus, rows.labels, is_auto=is_auto)
    tokens = [" ".join(line) for line in lines]
    tokens += [f"note {line}" for line in special_lines(run, rows.corpus)]
    if job.arm is None:
        texts = [*hub, *leaks, *(f"kept {line}" for line in job.kept), *tokens]
        return [text for text in texts if text]
    prior, num_rows = job.arm.prior, len(rows.corpus.splits["train"])
    arm = job.arm
    texts = [*hub] if prior is None or not prior.text else [*hub, f"prior {prior.text}", prior.note]
    texts += [f"length {line}" for line in length_lines(arm, run, num_rows)]
    return [text for text in (*texts, *leaks, *tokens, *short_notes(arm, run, num_rows)) if text]


def named_trial(study: str | None, trial: str | None, others: Sequence[str]) -> tuple[str, str]:
    """Return the study and the number of a trial that is to be trained again.

    Raises:
        ConfigError: One of them is missing, or there are other overrides.

    """
    for word in others:
        rule = "a trial brings its own configuration"
        fix = "Only run= may be given besides study= and trial=."
        raise ConfigError(Problem(word.partition("=")[0], rule, Verbatim(word), fix))
    if study is not None and trial is not None:
        return study, trial
    key = "study" if study is None else "trial"
    raise ConfigError(Problem(key, "must be set", Verbatim("nothing"), f"Add {key}=..."))


def job_again(study: str, trial: str, run: str | None) -> Job:
    """Return the job that repeats a study's trial.

    Args:
        study: The study's name.
        trial: The trial's number.
        run: The run's name; None takes `STUDY-trial-NUMBER`.

    """
    found = find_study(study)
    repeat = find_repeat(found, trial)
    folder = new_run_folder(run or f"{study}-trial-{trial}")
    if (before := _stored(folder)) is not None:
        check_same(repeat.tree, before)
    return Job(repeat.run, to_yaml(repeat.tree), folder, repeat)


def job_from(path: Path, run: str | None) -> Job:
    """Return the job of a whole configuration in a file, e.g. a study's `best.yaml`.

    Args:
        path: The file.
        run: The run's name; None takes the next free number.

    Raises:
        ConfigError: The file cannot be read, or is no whole configuration.

    """
    tree = completed(read_tree(path))
    folder = new_run_folder(run)
    if (before := _stored(folder)) is not None:
        check_same(tree, before)
    return Job(build_run(tree), to_yaml(tree), folder)


def start(job: Job, fetch: Callable[[Iterable[tuple[Model, bool]]], None]) -> CheckedRows:
    """Check everything, write the configuration and provenance or compare them; return the rows.

    Args:
        job: The run.
        fetch: Downloads a model, and its weights if they are needed.

    Raises:
        UserError: Data or model cannot be used, or differ from those that the run started with.

    """
    check_devices([job.run])
    rows = check_run(job.run, job.corpus)
    fetch([(job.run.model, job.run.strategy.reads_weights)])
    fingerprint = rows.corpus.fingerprint
    if job.repeat is not None:
        job.repeat.check(rows.corpus)
    if (job.folder / PROVENANCE_FILE).is_file():
        check_rows(job.folder, fingerprint)
    else:
        write_text(job.folder / CONFIG_FILE, job.config)
        write_json(job.folder / PROVENANCE_FILE, provenance(job.run.seed, fingerprint))
    return rows


def train(job: Job, rows: CheckedRows, hooks: Hooks) -> Outcome:
    """Train or continue a job on the rows that `start` returned; write its metrics at the end.

    Raises:
        UserError: The network cannot be trained, or another process trains it.

    """
    with alone(job.folder):
        return _train(job, rows, hooks)


def _train(job: Job, rows: CheckedRows, hooks: Hooks) -> Outcome:
    import_training()
    from lightning_modules.fit import fit

    job.run.logger.forget_failure(job.folder)
    identity = Identity(job.folder.name, None, job.folder, tags=tags_of(job.run.flat()))
    try:
        with nullcontext() if job.repeat is None else job.repeat.same_threads():
            outcome = fit(job.run, job.folder, identity, hooks, checked=rows)
    except UserError:
        _remove_start(job.folder)
        raise
    if has_result(outcome):
        assert outcome.best is not None
        for path in job.folder.glob(CHECKPOINT_PARTS):
            path.unlink(missing_ok=True)
        write_json(job.folder / METRICS_FILE, validation_metrics(outcome))
    return outcome


def _remove_start(folder: Path) -> None:
    """Remove what a run wrote before its training, if it was refused before its first step."""
    if any(folder.glob(CHECKPOINT_PARTS)) or (folder / OUTCOME_FILE).exists():
        return
    for name in (CONFIG_FILE, PROVENANCE_FILE, *START_FILES):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / TOKENIZER_FOLDER, ignore_errors=True)
    with suppress(OSError):  # there is more in it
        folder.rmdir()
        folder.parent.rmdir()


def has_result(outcome: Outcome) -> bool:
    """Return whether the run finished with a score."""
    return outcome.best is not None and outcome.ending is Ending.finished


def validation_metrics(outcome: Outcome) -> dict[str, float]:
    """Return the best validation's metrics by their full names."""
    assert outcome.best is not None
    return {f"validation/{name}": value for name, value in outcome.best.metrics.items()}


def _stored(folder: Path) -> Tree | None:
    """Return the configuration that a run in the folder began with; None if there is none."""
    return read_config(folder) if (folder / CONFIG_FILE).is_file() else None
