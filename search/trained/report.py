"""Write the report of a study, with what repeats its winner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.config import run_tree, to_yaml
from search.report.document.write import write_files
from search.report.overview import Overview, overview_of
from search.study.study import Study
from search.trained.repeat import repeat_command

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def write_report(study: Study) -> list[Path]:
    """Write the report's files to the study's folder; return their paths."""
    return write_files(study.folder, overview(study))


def overview(study: Study) -> Overview:
    """Return what the report of a study says now."""
    best = study.best
    if best is None or study.plan.is_asked:
        return overview_of(study)
    return overview_of(study, repeat_command(study, best), to_yaml(config_of(study, best)))


def config_of(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's whole configuration, nested by group."""
    params = study.params_of(trial)
    return run_tree(study.plan.arm(params).tree, study.plan.settings_of(params))
