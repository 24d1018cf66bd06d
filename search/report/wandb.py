"""A study's own run in the experiment log: table of trials, history and importances."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lightning_modules.logger.base import Identity, Logs
from search.config import leaves, resolved
from search.machine.draft import drafted
from search.report.importance import importances
from search.report.results import rows, status
from search.study.study import Study

log = logging.getLogger(__name__)

DRAFT = ".model-"
"""How the folder starts that has the winner's model until it is logged."""


def log_study(
    study: Study,
    files: Sequence[Path] = (),
    export: Callable[[Path], None] | None = None,
) -> list[str]:
    """Log the study's current state and return notes on that; never raise.

    Does nothing before a trial has finished.

    Args:
        study: The study.
        files: The files of its report.
        export: Writes the winner's model to a new folder; called if the logger keeps models.

    """
    table = rows(study)
    if not any(row["state"] == "complete" for row in table):
        return []
    notes: list[str] = []
    logs = study.plan.default.logger.start(study.folder)
    with ExitStack() as stack:
        model = None
        if export is not None and study.plan.default.logger.keeps_model:
            model = _exported(stack, study, export, notes.append)
        _log_study(study, table, files, model, logs, notes.append)
    notes += logs.close()
    return notes or logs.unsent()


def _exported(
    stack: ExitStack, study: Study, export: Callable[[Path], None], note: Callable[[str], None]
) -> Path | None:
    """Return the folder of the winner's model until the stack is closed; None if there is none."""
    try:
        draft = stack.enter_context(drafted(study.folder, DRAFT))
        export(draft / "model")
    except Exception as error:
        log.exception("the model could not be exported")
        note(f"the model is not in W&B: {' '.join(str(error).split())}")
        return None
    return draft / "model"


def _log_study(
    study: Study,
    table: Sequence[Mapping[str, Any]],
    files: Sequence[Path],
    model: Path | None,
    logs: Logs,
    note: Callable[[str], None],
) -> None:
    plan, state = study.plan, status(study)
    identity = Identity(
        name=f"{plan.name} (study)",
        group=plan.name,
        folder=study.folder,
        job_type="study",
        tags=tags_of(plan.default.flat()),
    )
    config = leaves({k: v for k, v in resolved(plan.tree).items() if k != "search"})
    ranges = {name: parameter.text for name, parameter in plan.space.parameters.items()}
    run = logs.open(identity, {**config, "space": ranges}, note)
    run.table("trials", table)
    leading = plan.objectives[0]
    history = list(_history(table, leading.sign))
    run.line("history", history, "number", ["value", "best so far"], f"{leading.name} by trial")
    for arm, shares in importances(study).items():
        name = f"importance/{arm}" if arm else "importance"
        bars = [{"setting": path, "importance": share} for path, share in shares.items()]
        title = f"What set the best trials apart{f' with {arm}' if arm else ''}"
        run.bars(name, bars, "setting", "importance", title)
    run.files(f"report-{plan.name}", "report", files)
    if model is not None:
        run.files(f"model-{plan.name}", "model", [model])
    best = state["best"] or {}
    run.finish(
        {
            **{f"best/{name}": value for name, value in best.get("metrics", {}).items()},
            **{f"best/{path}": value for path, value in best.get("params", {}).items()},
            **{f"trials/{name}": count for name, count in state["states"].items()},
            **{f"best/gain/{name}": value for name, value in (best.get("gain") or {}).items()},
            **{f"guard/{each['name']}": each["best"] for each in state["guards"]},
            **{f"guard/{each['name']}/num_broken": each["num_broken"] for each in state["guards"]},
            **{f"certificate/{name}": value for name, value in _certificate(study).items()},
            "best/trial": best.get("number"),
            "seconds": state["seconds"],
        }
    )


def _certificate(study: Study) -> dict[str, Any]:
    """Return the verdict on the winner; nothing without one."""
    found = study.certificate
    if found is None:
        return {}
    names = ("verdict", "gain", "low", "high", "probability", "selection", "num_looks")
    values = found.as_dict()
    return {"sentence": f"{found.subject} is {found.sentence}", **{n: values[n] for n in names}}


def tags_of(flat: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a run's group options as tags.

    >>> tags_of({"model": "minilm", "strategy": "lora", "data": "reviews", "task": "ner"})
    ('minilm', 'lora', 'reviews', 'ner')
    """
    return tuple(str(flat[group]) for group in ("model", "strategy", "data", "task"))


def _history(table: Sequence[Mapping[str, Any]], sign: int) -> Iterator[dict[str, Any]]:
    best: float | None = None
    for row in table:
        value = row["value"]
        if value is not None:
            best = value if best is None else sign * max(sign * value, sign * best)
        yield {"number": row["number"], "value": value, "best so far": best}
