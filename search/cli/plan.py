"""finesweep plan: what a sweep would do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_modules.run import Material
from search.cli.argument import parse
from search.cli.compose import composed
from search.cli.text import columns, number
from search.plan import Plan, build_plan
from search.prepare import check_study
from search.study import study_folder
from search.suggest import first_suggestions

ABOUT = """\
Show what `finesweep sweep` would do with the same words: space, budget, first trials, files.
Everything is checked as a sweep checks it; no model is loaded and nothing is written.

  finesweep plan study=mine data=files data.train=my.csv strategy=full
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("plan", ABOUT, words, flags=("json", "config"))
    composition = composed("sweep", parsed)
    if composition is None:
        return 0
    plan = build_plan(composition.tree)
    folder = study_folder(Path(), plan.name)
    material = check_study(plan, folder)
    suggestions = first_suggestions(plan)
    if parsed.json:
        print(json.dumps(_values(plan, folder, material, suggestions), indent=2))
    else:
        print("\n".join(describe(plan, material, composition.fixed)))
        print("\n".join(_first_trials(plan, suggestions)))
        print("\n".join(_files(plan, folder)))
    return 0


def describe(plan: Plan, material: Material, fixed: Sequence[str] = ()) -> list[str]:
    """Return a study's task in a few lines: what is trained on what, searched how."""
    run, settings = plan.default, plan.search.settings
    flat = run.flat()
    sizes = " / ".join(str(len(rows)) for rows in material.corpus.splits.values())
    names = " / ".join(material.corpus.splits)
    hours = f", at most {settings.max_hours:g} h of training" if settings.max_hours else ""
    lines = [
        ["study", f"{plan.name}: {settings.num_trials} trials{hours}"],
        ["model", f"{flat['model']}, strategy {flat['strategy']}"],
        ["data", f"{flat['data']}: {sizes} rows ({names}), {len(material.labels)} labels"],
        ["goal", f"{run.task.direction} validation/{run.task.metric}"],
        ["search", f"{_member(plan.search.sampler)}, pruner {_member(plan.search.pruner)}"],
    ]
    for path, text in plan.space.texts.items():
        lines.append(["space", f"{path}  {text}  (default {number(plan.default_values[path])})"])
    lines += [["fixed", f"{path}={number(flat.get(path))}, out of the space"] for path in fixed]
    lines += [["note", note] for note in material.corpus.notes]
    return columns(lines)


def _member(schema: object) -> str:
    return type(schema).__module__.rsplit(".", 1)[-1]


def _first_trials(plan: Plan, suggestions: Sequence[dict[str, Any]]) -> list[str]:
    header = ["trial", *plan.space.distributions, ""]
    rows = [header]
    for at, values in enumerate(suggestions):
        why = "default" if at == 0 else "enqueued" if at < len(plan.first) else ""
        rows.append([str(at), *(number(values[path]) for path in plan.space.distributions), why])
    more = plan.search.settings.num_trials - len(suggestions)
    tail = [f"and {more} more, chosen by what these find"] if more > 0 else []
    return ["", *columns(rows), *tail]


def _files(plan: Plan, folder: Path) -> list[str]:
    state = "goes on with the study there" if folder.exists() else "does not exist yet"
    return [
        "",
        f"A sweep writes to {folder}/ ({state}):",
        "  study.db config.yaml provenance.json trials.csv  the study",
        f"  trials/0000/ ... {plan.search.settings.num_trials - 1:04d}/  a folder a trial;"
        f" weights of the best {plan.search.settings.keep}",
        "  wandb/ logs/",
    ]


def _values(
    plan: Plan, folder: Path, material: Material, suggestions: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "study": plan.name,
        "num_trials": plan.search.settings.num_trials,
        "metric": f"validation/{plan.default.task.metric}",
        "rows": {split: len(rows) for split, rows in material.corpus.splits.items()},
        "labels": list(material.labels),
        "space": dict(plan.space.texts),
        "suggestions": list(suggestions),
        "folder": str(folder),
    }
