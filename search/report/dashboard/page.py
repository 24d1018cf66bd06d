"""What the dashboard shows of a study and its trials besides their numbers.

A trial gets a list of its artifacts (learning curve, confusion matrix, wrong examples, generated
texts), which Optuna accepts only until the trial has its result, and a note: how and why it ended,
its best scores, how to repeat it, the pictures in full size. A study gets a note on its goal and on
how to read its page.

Notes are Markdown. Text from elsewhere, e.g. an error message, is shown as code; what people write
below our part is kept.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import GuardScore
from search.certificate.certificate import CERTIFICATE_FILE
from search.machine.provenance import PROVENANCE_FILE
from search.report.dashboard.artifact import TYPES, artifacts_of, read_outcome
from search.report.dashboard.note import note_values, read_note, write_note
from search.report.guard import guard_line
from search.report.results import TABLE_FILE
from search.report.text import duration, number
from search.storage import attribute as keys
from search.storage.location import CERTIFY, CONFIRM, DATABASE
from search.storage.trial_end import Shown
from search.study.attempt import CONFIG_FILE

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# Optuna stores notes with the study and reads them all at once, the dashboard once per trial: a
# thousand notes would cost every later trial 0.13 s, and a page 2 s.
MAX_NOTES = 500

# A link definition, which Markdown does not show.
MARK = "[//]: # (finesweep writes above this line; what you write below it stays)"

COLUMNS = {
    "Value": "the first goal's validation metric at its best; empty for a trial that ended early",
    "Intermediate values": "the same metric at every validation, by training examples seen",
    keys.ENDING: "finished, pruned, diverged, interrupted or failed",
    keys.REASON: "why it ended, in words",
    keys.VERDICT: "whether it over- or underfits, judged by its losses",
    keys.METRICS: "validation scores at the best validation",
    keys.BEST_EPOCH: "the epoch of the best validation",
    keys.GUARDS: "what the best weights scored on the data of guards",
    keys.SECONDS: "training time over all attempts",
    keys.SCORING: "about how long its model takes to score the test rows",
    keys.ATTEMPT: "number of attempts so far",
    keys.FOLDER: "folder of the last attempt's files",
    keys.PLACE: "the memory that its worker uses or used last: a machine, a GPU or a part of one",
    keys.ALONE: "whose memory it must have for itself, after it ran out of it beside others",
    keys.LENGTH: "training examples the run sees, and how many a longer run has in common with it",
    keys.THREADS: "CPU threads; a repeat is bit-equal only with the same number",
    keys.MEMORY: "peak memory, sampled",
    keys.SPEED: "trained tokens per second, padding not counted",
    keys.MFU: "the share of the device's peak that the training used; empty where it is unknown",
    keys.GRADIENT_NORM: "the mean norm of the gradients before clipping",
    keys.MICRO_BATCH: "micro-batch size of the last attempt, if lower than configured",
    keys.TRAINABLE: "number of trained parameters",
    keys.WORKER: "worker that trains it, or trained it last",
    keys.ATTEMPTS: "how each earlier attempt ended",
    keys.CHECKPOINT: "the last checkpoint and its path",
    keys.VALUES: "values of the default configuration that lie outside the space",
    keys.REPORTED: "the last report of a loop of yours, and whether it was advised to stop",
    keys.PROGRESS: "training time at the last validation, and the time of that validation",
}

FILES = {
    TABLE_FILE: "one row per trial",
    CERTIFICATE_FILE: "the certificate of the winner, if there is one",
    CONFIG_FILE: "the configuration",
    PROVENANCE_FILE: "versions, commit, seed, data fingerprint",
    "trials/0000/attempt-1/": "a trial's configuration, curve and tables; the best trials' weights",
    DATABASE: "all trials, in Optuna's tables",
    "logs/": "logs of the workers",
}

log = logging.getLogger(__name__)


SEARCHED = (
    "Trial 0 is the unmodified configuration. Scores are on the validation rows; the test rows are "
    "for `finesweep evaluate`."
)
ASKED = "A loop of its owner's trains the trials, by `finesweep ask` and `finesweep tell`."


def about_followed(name: str, kinds: Sequence[str]) -> str:
    """Return what the note of a study says.

    Args:
        name: Its name.
        kinds: What the studies do that follow it.

    """
    lines = [SEARCHED]
    if CONFIRM in kinds:
        inside = f"{name}.{CONFIRM}"
        lines.append(
            "At the end the first few are trained again on fresh splits or seeds, in study "
            f"{_code(inside)}: `finesweep dashboard study={inside}`. They decide on the best "
            f"trial, which `{TABLE_FILE}` names."
        )
    if CERTIFY in kinds:
        inside = f"{name}.{CERTIFY}"
        lines.append(
            "Then the winner and the default are trained over fresh seeds, in study "
            f"{_code(inside)}, and scored once on the test rows: see `{CERTIFICATE_FILE}`."
        )
    return " ".join(lines)


def about_confirming(name: str) -> str:
    """Return what the note of a study says that confirms the one of that name."""
    return (
        f"Its trials train the first few of study {_code(name)} again, each on every fresh split "
        "or seed. Only the means say which one is the best: see "
        f"`finesweep status study={name}`."
    )


def about_certifying(name: str) -> str:
    """Return what the note of a study says that certifies the winner of the one of that name."""
    return (
        f"Its trials train the winner and the default of study {_code(name)} over fresh seeds. "
        f"What they score on the test rows is the certificate: see `finesweep status study={name}`."
    )


def show_study(
    study: optuna.Study, folder: Path, task: Sequence[str], about: str = SEARCHED
) -> None:
    """Write the study's note.

    Args:
        study: The study.
        folder: Its folder.
        task: Its description, as `finesweep plan` prints it.
        about: What its trials are, as Markdown.

    """
    columns = [f"- `{name}`: {meaning}" for name, meaning in COLUMNS.items()]
    files = [f"- `{name}`: {what}" for name, what in FILES.items()]
    parts = [
        _block("\n".join(task)),
        f"{about} Trials from {MAX_NOTES} on have no note.",
        "**Columns**",
        "\n".join(columns),
        "**Files**, in " + _code(f"{folder}/"),
        "\n".join(files),
    ]
    write_note(study, None, _note(study, None, parts))


def show_trial(
    study: optuna.Study, trial: FrozenTrial, folder: Path, failure: str | None = None
) -> None:
    """Store what a trial has to show, and its note, before it gets its result; never raise.

    Args:
        study: The trial's study.
        trial: The trial, still without a result.
        folder: The folder of its attempt.
        failure: Why the attempt failed, if it did.

    """
    shown = shown_of(study, trial, folder, failure)
    with _optional(f"trial {trial.number}"):
        for name, value in shown.of_trial.items():
            study._storage.set_trial_system_attr(trial._trial_id, name, value)
        for name, value in shown.of_study.items():
            study._storage.set_study_system_attr(study._study_id, name, value)


def shown_of(
    study: optuna.Study, trial: FrozenTrial, folder: Path, failure: str | None = None
) -> Shown:
    """Return what `show_trial` stores; never raise."""
    of_trial: dict[str, str] = {}
    of_study: dict[str, Any] = {}
    with _optional(f"trial {trial.number}"):
        outcome = read_outcome(folder)
        pictures: dict[str, str] = {}
        for artifact in artifacts_of(study.study_name, trial.number, folder):
            name, value = artifact.attribute
            if trial.system_attrs.get(name) != value:
                of_trial[name] = value
            if artifact.kind == TYPES[".png"]:
                path = f"/artifacts/{study._study_id}/{trial._trial_id}/{artifact.id}"
                title = Path(artifact.name).stem
                # In the note they are side by side, larger than as artifacts.
                pictures[title] = f"![{title}]({path})"
        if trial.number < MAX_NOTES:
            parts = [*_ending(outcome, failure), *_repeat(study, trial)]
            text = _note(study, trial._trial_id, [*parts, _table(pictures)] if pictures else parts)
            of_study.update(note_values(study, trial._trial_id, text))
    return Shown(of_trial, of_study)


@contextmanager
def _optional(what: str) -> Iterator[None]:
    """Log any error and continue: the dashboard must not cost a trial."""
    try:
        yield
    except Exception:
        log.exception("could not show %s in the dashboard", what)


def _ending(outcome: Mapping[str, Any] | None, failure: str | None) -> Iterator[str]:
    """Yield how the trial ended, and its scores."""
    if failure is not None:
        yield "**Failed**"
        yield _block(failure)
    if outcome is None:
        return
    if failure is None:
        yield f"**{outcome['ending'].capitalize()}**: {_escaped(outcome['reason'])}."
        yield f"**Verdict**: {_escaped(outcome['verdict'])}."
    best = outcome["best"]
    if best is not None:
        scores = {
            "best at epoch": best["epoch"],
            **best["metrics"],
            "validation loss": best["validation_loss"],
            **({"training loss": best["train_loss"]} if best["step"] else {}),
        }
        yield _table({_escaped(name): number(value) for name, value in scores.items()})
    for values in outcome.get("guards", ()):
        yield f"**Guard** {_escaped(guard_line(GuardScore(**values)).removeprefix('guard '))}."
    yield (
        f"{duration(outcome['seconds'])} of training on {_escaped(outcome['hardware'])}; "
        f"{outcome['num_trainable']:,} of {outcome['num_parameters']:,} parameters trained."
    )


def _repeat(study: optuna.Study, trial: FrozenTrial) -> Iterator[str]:
    yield "Train it again:"
    yield _block(f"finesweep train study={study.study_name} trial={trial.number}")


def _table(cells: Mapping[str, str]) -> str:
    """Return a Markdown table with one row.

    >>> _table({"epoch": "4", "accuracy": "0.7"}).splitlines()
    ['| epoch | accuracy |', '|---|---|', '| 4 | 0.7 |']
    """
    titles, row = (f"| {' | '.join(line)} |" for line in (cells.keys(), cells.values()))
    return f"{titles}\n|{'---|' * len(cells)}\n{row}"


def _note(study: optuna.Study, trial_id: int | None, parts: Sequence[str]) -> str:
    """Return the note of a trial, or of the study if `trial_id` is None, with our part replaced."""
    before = read_note(study, trial_id)
    _, mark, below = before.partition(MARK)
    theirs = below if mark else before
    return "\n\n".join([*parts, MARK, theirs.strip()])


def _escaped(text: str) -> str:
    r"""Return our own text, which may contain a metric's name, escaped for Markdown.

    >>> _escaped("macro_f1 [*]")
    'macro\\_f1 \\[\\*\\]'
    """
    return re.sub(r"([\\`*_\[\]<>|~&])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Return any text as inline code.

    >>> _code("a `b`"), _code("a")
    ('`` a `b` ``', '`a`')
    """
    ticks, line = _ticks(text, 1), " ".join(text.split())
    return f"{ticks} {line} {ticks}" if "`" in line else f"`{line}`"


def _block(text: str) -> str:
    """Return any text as a code block; in escaped text, links could still be clicked."""
    ticks = _ticks(text, 3)
    return f"{ticks}\n{text}\n{ticks}"


def _ticks(text: str, least: int) -> str:
    """Return at least `least` backticks, and more than the text has in a row."""
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", text))])
