"""What a sweep prints at its end: the results, how good they are, and the next commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from lightning_modules.folder import read_records, table_file
from lightning_modules.task.base import GENERATED
from lightning_modules.trainer import Select
from search.config import PLUGINS
from search.plan.tokens import token_lines
from search.report.document.section.winner import BEST_FILE
from search.report.document.write import PAGE_FILE
from search.report.guard import guard_lines
from search.report.results import TABLE_FILE, Comparison, compare_with_default, status
from search.report.text import (
    columns,
    default_line,
    duration,
    gain_lines,
    number,
    score,
    setting,
    spoken,
)
from search.storage.attribute import METRICS, VERDICT
from search.storage.location import VARIABLE, is_local, storage_of
from search.study.study import Study
from search.terminal.certify import certify_lines
from search.terminal.confirm import confirm_lines
from search.terminal.cost import cost_lines
from search.terminal.curve import curve_lines
from search.trained.export import certified_winner
from search.trained.repeat import repeat_command

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from lightning_modules.check import CheckedRows
    from lightning_modules.task.base import Baseline


NUM_WRITTEN = 3
MAX_WRITTEN = 90  # characters of each text


def summary(
    study: Study,
    words: Sequence[str],
    baseline: Baseline | None,
    num_rows: tuple[int, int],
    rows: CheckedRows | None = None,
    files: Sequence[Path] = (),
) -> list[str]:
    """Return the summary lines of a study that has ended.

    Args:
        study: The study.
        words: The words of its command.
        baseline: The score of guessing on the validation rows.
        num_rows: Numbers of training and validation rows.
        rows: The rows; None leaves out the lines about them.
        files: The files of its report.

    """
    state = status(study)
    states = ", ".join(f"{count} {name}" for name, count in state["states"].items() if count)
    lines = [
        "",
        f"{states}; {duration(state['seconds'])} of training; table: {study.folder}/{TABLE_FILE}",
        *_files(files),
    ]
    comparison = compare_with_default(study)
    if comparison is None:
        guards = list(guard_lines(study))
        return [*lines, *(guards or ["No trial has finished."]), *_remaining(study)]
    best = comparison.best
    metric = study.plan.objectives[0].short
    lines += [
        *_chosen(study),
        "",
        *(_comparison(study) if state["front"] is None else _front(study)),
        "",
    ]
    costs = cost_lines(study)
    lines += [*costs, ""] if costs else []
    scores = ", ".join(f"{n} {number(v)}" for n, v in state["best"]["metrics"].items())
    lines.append(f"Validation scores of the best trial: {scores}.")
    lines += _seeds(study, best)
    lines.append(f"It {state['best']['verdict']}.")
    lines += _warnings(study, best, baseline)
    lines += _cut(study, best, rows)
    lines += _gain(study, comparison, metric, num_rows[1])
    lines += [f"{rows.corpus.left_out}."] if rows is not None and rows.corpus.left_out else []
    lines += guard_lines(study)
    lines += confirm_lines(study)
    lines += certify_lines(study)
    lines += curve_lines(study, *num_rows)
    lines += _remaining(study)
    return [*lines, *_written(study, best), "", *_next(study, best, words)]


def _next(study: Study, best: FrozenTrial, words: Sequence[str]) -> list[str]:
    """Return the commands that come next."""
    name, data = study.plan.name, study.plan.default.data
    again, repeat = _repeat(study, best)
    return [
        *_needed_storage(study),
        *_needed_plugins(study),
        again,
        f"  {repeat}",
        "Next:",
        *([f"  finesweep evaluate study={name} split=test"] if data.has_test else []),
        f"  finesweep export study={name} to=best/",
        f"  finesweep dashboard study={name}",
        *_longer(study, words),
    ]


def _repeat(study: Study, best: FrozenTrial) -> tuple[str, str]:
    """Return what is trained again by a command, and the command."""
    found = certified_winner(study)
    if found is None:
        return "Train the best trial again, to the same scores:", repeat_command(study, best)
    certifying, run = found
    what = f"certified run {run.number}, the one that is exported"
    return f"Train {what}, again:", repeat_command(certifying, run)


def _needed_storage(study: Study) -> list[str]:
    if is_local(storage_of(study.folder)):
        return []
    # The URL may have a password, so it is never printed.
    return [f"With {VARIABLE} set to the study's storage:"]


def _needed_plugins(study: Study) -> list[str]:
    names = study.plan.search.settings.plugins
    return [f"With {PLUGINS}=[{','.join(names)}], in quotes for the shell:"] if names else []


def _warnings(study: Study, best: FrozenTrial, baseline: Baseline | None) -> list[str]:
    """Return reasons to distrust the winner, however it compares with other trials."""
    task = study.plan.default.task
    lines = []
    attributes = best.user_attrs
    if (
        baseline is not None
        and not task.beats(attributes[METRICS][task.metric], baseline)
        and baseline.guess not in attributes[VERDICT]
    ):
        scored = f"{task.metric} {score(baseline.score)}"
        lines.append(f"It is no better than {baseline.guess}, which has {scored}.")
    paths = study.folder_of(best).glob("*.jsonl")
    collapse = task.constant_prediction({path.stem: read_records(path) for path in paths})
    if collapse is not None:
        lines.append(f"It {collapse} of validation.")
    return lines


def _cut(study: Study, best: FrozenTrial, rows: CheckedRows | None) -> list[str]:
    """Return what the winner's limits of lengths cut."""
    if rows is None:
        return []
    run = study.plan.run(study.params_of(best))
    return [f"Lengths: {text}." for _, text in token_lines(run, rows.corpus, rows.labels)]


def _seeds(study: Study, best: FrozenTrial) -> list[str]:
    """Return a line about the seeds that the winner is the mean of, if they are searched."""
    values = {seed: trial.values[0] for seed, trial in study.ranking.by_seed(best).items()}
    if not values:
        return []
    mean = f"{study.plan.objectives[0].short} {score(sum(values.values()) / len(values))}"
    each = ", ".join(f"{score(value)} with seed {seed}" for seed, value in values.items())
    return [f"Its configuration counts by its mean {mean}: {each}."]


def _written(study: Study, best: FrozenTrial) -> list[str]:
    """Return the first texts that the winner generated, with their inputs."""
    path = study.folder_of(best) / table_file(GENERATED)
    if not path.is_file():
        return []
    lines = ["", f"Sample outputs, from {path}:"]
    for record in read_records(path)[:NUM_WRITTEN]:
        lines += [f"  {name}: {_in_a_line(value)}" for name, value in record.items()]
        lines.append("")
    return lines[:-1]


def _in_a_line(value: object) -> str:
    if not isinstance(value, str):
        return number(value)
    # A text may contain terminal control characters.
    plain = "".join(letter if letter.isprintable() else " " for letter in value)
    return shorten(plain, MAX_WRITTEN, placeholder=" …")


def _files(files: Sequence[Path]) -> list[str]:
    """Return a line per file of the report that a person opens."""
    what = {PAGE_FILE: "Report", BEST_FILE: "Configuration of the best trial"}
    return [f"{what[path.name]}: {path}" for path in files if path.name in what]


def _chosen(study: Study) -> list[str]:
    """Return by what the best trial and its epoch were chosen; nothing for a front."""
    names = [spoken(name) for name in study.ranking.chosen_by]
    if not names:
        return []
    on_ties = f", on ties by {names[1]}" if len(names) > 1 else ""
    return [f"Trial and epoch are chosen by {names[0]}{on_ties} (search.select={_asked(study)})."]


def _asked(study: Study) -> str:
    """Return the rule that the study asked for, and why another one was followed."""
    asked, settings = study.plan.default.trainer.select, study.plan.search.settings
    if asked is not Select.metric and study.ranking.chosen_by != study.plan.chosen_by:
        return f"{asked.value}, but not every trial has it"
    if settings.select is None or settings.select in (Select.auto, asked):
        return asked.value
    return f"{settings.select.value}, but the task has no such loss"


def _comparison(study: Study) -> list[str]:
    """Return a table of the winner, the best of each other arm, and the default."""
    comparison = compare_with_default(study)
    assert comparison is not None
    best, default = comparison.best, comparison.default
    shown = {best.number: f"best, trial {best.number}"}
    for trial in study.ranking.trials:
        options = study.plan.space.options_of(study.params_of(trial))
        if all(
            options != study.plan.space.options_of(study.params_of(study.trials[number]))
            for number in shown
        ):
            shown[trial.number] = f"best {' '.join(options)}, trial {trial.number}"
    if default is not None:
        named = shown.get(default.number)
        plain = f"default, trial {default.number}"
        shown[default.number] = f"{named}, the default" if named else plain
    paths = [
        path
        for path in study.plan.space.paths
        if any(path in study.params_of(study.trials[number]) for number in shown)
    ]
    table = [["", study.plan.objectives[0].short, *paths]]
    for number_, name in shown.items():
        trial = study.trials[number_]
        table.append(_line(name, trial.values[:1], study.params_of(trial), paths))
    return columns(table)


def _front(study: Study) -> list[str]:
    """Return the Pareto front."""
    ranking = study.ranking
    trials = [trial for trial in ranking.trials if trial.number in ranking.front]
    table = [["", *(o.short for o in study.plan.objectives), *study.plan.space.paths]]
    for trial in trials:
        values = study.params_of(trial)
        table.append(_line(f"trial {trial.number}", trial.values, values, study.plan.space.paths))
    names = " and ".join(objective.short for objective in study.plan.objectives)
    if len(trials) == 1:
        return [f"One trial is best in {names}:", *columns(table)]
    front = (
        f"These {len(trials)} are the Pareto front of {names}: no trial is better in one without"
    )
    return [f"{front} being worse in another.", *columns(table)]


def _line(
    name: str, scores: Sequence[float], values: dict[str, Any], paths: Sequence[str]
) -> list[str]:
    return [
        name,
        *(f"{each:.4f}" if abs(each) < 100 else number(each) for each in scores),
        *(setting(values, path) for path in paths),
    ]


def _remaining(study: Study) -> list[str]:
    remaining = status(study)["remaining"]
    plan = study.plan
    if not remaining and plan.limit is not None and plan.limit < plan.search.settings.num_trials:
        return [
            "",
            f"All {plan.limit} combinations have been tried; the search space is exhausted.",
        ]
    if not remaining:
        return []
    left = f"{remaining} trial{'' if remaining == 1 else 's'}"
    if study.is_stopping:
        return ["", f"Stopped by finesweep stop, {left} left: run the same command to continue."]
    if study.out_of_time is not None:
        return ["", f"{study.out_of_time}, {left} left."]
    return ["", f"{left} left; run the same command to continue."]


def _gain(study: Study, comparison: Comparison, metric: str, num_rows: int) -> list[str]:
    if study.certificate is not None and not study.ranking.keeps_default:
        return []  # it says more
    if comparison.best is comparison.default:
        ranking = study.ranking
        if ranking.decision is not None:
            return []  # said with the scores on fresh splits
        num_tried = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)
        chosen_by = next(iter(ranking.chosen_by), metric)
        return [default_line(chosen_by, is_cautious=ranking.is_cautious, num_tried=num_tried)]
    return gain_lines(comparison.gain, metric, num_rows)


def _longer(study: Study, words: Sequence[str]) -> list[str]:
    """Return the same command with a higher budget; nothing if the space has no more trials."""
    plan, hours = study.plan, study.plan.search.settings.max_hours
    budget = f"search.num_trials={2 * plan.num_trials}"
    if hours is not None and study.num_ended < plan.num_trials:
        budget = f"search.max_hours={2 * hours:g}"  # more trials would have no time
    elif plan.num_trials == plan.limit:
        return []
    replaced = ("study=", f"{budget.partition('=')[0]}=")
    kept = [word for word in words if not word.startswith(replaced)]
    return [f"  {shlex.join(['finesweep', 'sweep', f'study={plan.name}', *kept, budget])}"]
