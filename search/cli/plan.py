"""finesweep plan: what a sweep would do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_modules.check import CheckedRows
from lightning_modules.error import ConfigError, Problem
from lightning_modules.task.base import Baseline
from search.cli.argument import parse
from search.cli.compose import composed
from search.estimate.estimate import Estimate, Past, estimate, past_of
from search.estimate.probe import ProbeFailed, probe
from search.plan.plan import Plan, build_plan
from search.report.text import columns, number, score, trained
from search.space.space import Members
from search.storage.location import study_folder
from search.study.open import load_study, open_study, stored
from search.study.prepare import check_study
from search.study.suggest import first_suggestions
from search.terminal.curve import size_notes
from search.terminal.estimate import estimate_lines

ABOUT = """\
Show what `finesweep sweep` would do with the same words: space, budget, first
trials, files, time, memory. Everything is checked, nothing is written.

  probe=true   train a few steps of every arm, to measure time and memory;
               without it no model is loaded

  finesweep plan study=first
  finesweep plan study=mine data=files data.train=my.csv strategy=full
  finesweep plan study=ways 'strategy=choice(lora,full)' search.num_trials=30
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("plan", ABOUT, words, flags=("json", "config"))
    wants_probe = take_probe(parsed.overrides)
    composition = composed("sweep", parsed)
    if composition is None:
        return 0
    plan = build_plan(composition)
    folder = study_folder(Path(), plan.name)
    material = check_study(plan, folder)
    suggestions = first_suggestions(plan)
    if not parsed.json:
        print("\n".join(describe(plan, material, composition.fixed)), flush=True)
    past, ended = _past(plan, folder, material), _ended(folder)
    try:
        measured = probe(plan, _say_arm, _say_built) if wants_probe else past.measured
    except ProbeFailed as error:
        print(f"probe: failed: {error}", file=sys.stderr)
        return 1
    splits = material.corpus.splits
    rows = len(splits["train"]), len(splits["validation"])
    expected = estimate(plan, rows, measured, suggestions, past) if measured else None
    if parsed.json:
        values = _values(plan, folder, material, suggestions, expected, ended)
        print(json.dumps(values, indent=2))
    else:
        print("\n".join(estimate_lines(plan, expected)))
        print("\n".join(_first_trials(plan, suggestions, ended)))
        print("\n".join(_files(plan, folder, len(ended))))
    return 0


def take_probe(overrides: list[str]) -> bool:
    """Take `probe=...` out of the words, which is none of the configuration; the last holds."""
    given = [word for word in overrides if word.partition("=")[0] == "probe"]
    overrides[:] = [word for word in overrides if word not in given]
    value = given[-1].partition("=")[2] if given else "false"
    if value not in ("true", "false"):
        fix = "probe=true measures time and memory."
        raise ConfigError(Problem("probe", "must be true or false", value, fix))
    return value == "true"


def _past(plan: Plan, folder: Path, material: CheckedRows) -> Past:
    if stored(folder) is None:
        return Past()
    import psutil

    free_bytes = psutil.virtual_memory().available
    num_validation = len(material.corpus.splits["validation"])
    return past_of(plan, open_study(plan, folder), free_bytes, num_validation)


def _say_arm(members: Members) -> None:
    what = " ".join(members) or "the default configuration"
    print(f"measuring some steps of {what} ...", file=sys.stderr, flush=True)


def _say_built(strategy: str, num_trainable: int, num_parameters: int) -> None:
    print(trained(strategy, num_trainable, num_parameters), file=sys.stderr, flush=True)


def describe(plan: Plan, material: CheckedRows, fixed: Sequence[str] = ()) -> list[str]:
    """Return a study's task in a few lines: what is trained on what, searched how."""
    run, settings = plan.default, plan.search.settings
    flat = run.flat()
    sizes = " / ".join(str(len(rows)) for rows in material.corpus.splits.values())
    names = " / ".join(material.corpus.splits)
    labels = f", {len(material.labels)} labels" if material.labels else ""
    hours = f", at most {settings.max_hours:g} h of training" if settings.max_hours else ""
    goals = [f"{objective.direction} {objective.name}" for objective in plan.objectives]
    pruner = _member(plan.search.pruner) if len(goals) == 1 else "none, as there are several goals"
    groups = plan.space.groups
    model, strategy = (
        _either(groups[name]) if name in groups else flat[name] for name in ("model", "strategy")
    )
    lines = [
        ["study", f"{plan.name}: {plan.num_trials} trial{'s' * (plan.num_trials != 1)}{hours}"],
        ["model", f"{model}, strategy {strategy}"],
        ["data", f"{flat['data']}: {sizes} rows ({names}){labels}"],
        ["goal", ", ".join(goals)],
        ["search", f"{_member(plan.search.sampler)}, pruner {pruner}"],
    ]
    defaults = dict(zip(plan.space.arms, plan.first, strict=False))
    for name, parameter in plan.space.parameters.items():
        value = _default(plan, name, defaults)
        lines.append(["space", f"{name}  {parameter.text}  (default {number(value)})"])
    lines += [["fixed", f"{word}, out of the space"] for word in fixed]
    notes = (*_baseline_notes(plan, material), *material.corpus.notes, *_notes(plan))
    notes = (*notes, *size_notes(plan, len(material.corpus.splits["train"])))
    lines += [["note", note] for note in notes]
    return columns(lines)


def baseline(plan: Plan, material: CheckedRows) -> Baseline | None:
    """Return what guessing has on the validation rows."""
    return plan.default.task.baseline(material.corpus.splits["validation"])


def _either(members: Sequence[str]) -> str:
    return f"{', '.join(members[:-1])} or {members[-1]}" if len(members) > 1 else members[0]


def _default(plan: Plan, name: str, defaults: Mapping[Members, Mapping[str, Any]]) -> Any:
    """Return what the first arm that has the parameter holds by default."""
    if name in plan.space.groups:
        return plan.default_values[name]
    arms = plan.space.arms.items()
    members, path = next((m, p) for m, arm in arms for p, q in arm.items() if q.name == name)
    return defaults[members][path]


def _baseline_notes(plan: Plan, material: CheckedRows) -> Iterator[str]:
    found = baseline(plan, material)
    if found is not None:
        yield f"{found.guess} would have {plan.default.task.metric} {score(found.score)}"


def _notes(plan: Plan) -> Iterator[str]:
    note = plan.search.sampler.note(plan.space)
    if note is not None:
        yield note
    budget = plan.search.settings.num_trials
    if plan.limit is not None and plan.limit < budget:
        yield f"there are {plan.limit} combinations, fewer than search.num_trials={budget}"
    elif plan.search.sampler.is_finite and len(plan.first) > budget:
        yield f"search.num_trials={budget} tries the first of {len(plan.first)} combinations"


def _member(schema: object) -> str:
    return type(schema).__module__.rsplit(".", 1)[-1]


def _ended(folder: Path) -> dict[int, Mapping[str, Any]]:
    """Return number and values of the trials that the study in `folder` has ended already."""
    if stored(folder) is None:
        return {}
    study = load_study(folder)
    return {
        trial.number: study.values_of(trial) for trial in study.trials if trial.state.is_finished()
    }


def _first_trials(
    plan: Plan, suggestions: Sequence[Mapping[str, Any]], ended: Mapping[int, Mapping[str, Any]]
) -> list[str]:
    header = ["trial", *plan.space.paths, ""]
    rows = [header]
    num_defaults, num_enqueued = len(plan.defaults), len(plan.search.settings.enqueue)
    for at, suggested in enumerate(suggestions):
        values = ended.get(at, suggested)  # what was enqueued since comes after what has ended
        words = ["default"] if at < num_defaults else []
        if num_defaults <= at < num_defaults + num_enqueued and values == suggested:
            words.append("enqueued")
        if at in ended:
            words.append("done")
        cells = [number(values.get(path)) for path in plan.space.paths]
        rows.append([str(at), *cells, ", ".join(words)])
    more = plan.num_trials - len(suggestions)
    tail = [f"and {more} more, chosen by what these find"] if more > 0 else []
    return ["", *columns(rows), *tail]


def _files(plan: Plan, folder: Path, num_ended: int) -> list[str]:
    state = "goes on with the study there" if folder.exists() else "does not exist yet"
    if num_ended:
        state += f": {num_ended} of {plan.num_trials} trials have ended"
    return [
        "",
        f"A sweep writes to {folder}/ ({state}):",
        "  study.db config.yaml provenance.json trials.csv  the study",
        f"  trials/0000/ ... {plan.num_trials - 1:04d}/  a folder a trial;"
        f" weights of the best {plan.search.settings.keep}",
        "  wandb/ logs/",
    ]


def _values(
    plan: Plan,
    folder: Path,
    material: CheckedRows,
    suggestions: Sequence[dict[str, Any]],
    expected: Estimate | None,
    ended: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    found = baseline(plan, material)
    return {
        "study": plan.name,
        "num_trials": plan.num_trials,
        "metric": plan.objectives[0].name,
        "objectives": {objective.name: objective.direction for objective in plan.objectives},
        "rows": {split: len(rows) for split, rows in material.corpus.splits.items()},
        "labels": list(material.labels),
        "baseline": None if found is None else asdict(found),
        "space": {name: parameter.text for name, parameter in plan.space.parameters.items()},
        "suggestions": list(suggestions),
        "estimate": None if expected is None else expected.as_dict(tuple(plan.space.groups)),
        "ended": sorted(ended),
        "folder": str(folder),
    }
