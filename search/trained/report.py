"""Write the report of a study, with what repeats its winner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.file import write_text
from search.config import run_tree, to_yaml
from search.report.document.compare import comparison
from search.report.document.write import write_files
from search.report.overview import Overview, overview_of
from search.study.study import Study
from search.trained.export import certified_winner
from search.trained.repeat import repeat_command

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def write_report(study: Study, seconds: int | None = None) -> list[Path]:
    """Write the report's files to the study's folder; return their paths, the page's first.

    Args:
        study: The study.
        seconds: After which a browser loads the page again; None does not.

    """
    return write_files(study.folder, overview(study), seconds)


def write_comparison(studies: Sequence[Study], folder: Path) -> list[Path]:
    """Write a page and Markdown on several studies side by side; return their paths.

    Raises:
        ConfigError: Their first objectives differ.

    """
    goals: dict[str, str] = {}
    for study in studies:
        objective = study.plan.objectives[0]
        goals.setdefault(f"{objective.direction} {objective.name}", study.plan.name)
    if len(goals) > 1:
        got = Verbatim(", ".join(f"{name}: {goal}" for goal, name in goals.items()))
        rule = "studies that are compared must have the same first objective"
        fix = "Compare studies with the same search.metric."
        raise ConfigError(Problem("study", rule, got, fix))
    html, brief = comparison([overview(study) for study in studies])
    path = folder / f"report-{'-'.join(study.plan.name for study in studies)}.html"
    write_text(path, html)
    write_text(path.with_suffix(".md"), brief)
    return [path, path.with_suffix(".md")]


def overview(study: Study) -> Overview:
    """Return what the report of a study says now."""
    best = study.best
    if best is None or study.plan.is_asked:
        return overview_of(study)
    source, trial = certified_winner(study) or (study, best)
    return overview_of(study, repeat_command(source, trial), to_yaml(config_of(source, trial)))


def config_of(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's whole configuration, nested by group."""
    params = study.params_of(trial)
    return run_tree(study.plan.arm(params).tree, study.plan.settings_of(params))
