"""Make, open and read studies: where they lie and what their storage keeps of their plan."""

from __future__ import annotations

from pathlib import Path

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.config import Composition
from search.plan import Plan, build_plan
from search.sampler.base import seeded_sampler
from search.storage import open_storage
from search.study import DATA, DATABASE, PLAN, Study


def study_folder(root: Path, name: str) -> Path:
    """Return where a study's files go."""
    return root / "studies" / name


def open_study(plan: Plan, folder: Path) -> Study:
    """Open the study's storage under a plan; the study must be there."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = seeded_sampler(plan.search.sampler, plan.space, plan.default.seed)
    storage = open_storage(folder / DATABASE)
    study = optuna.load_study(study_name=plan.name, storage=storage, sampler=sampler)
    return Study(plan, folder, study, storage)


def study_folders(root: Path) -> list[Path]:
    """Return the folders of all studies under `root`, by name."""
    return sorted(path.parent for path in (root / "studies").glob(f"*/{DATABASE}"))


def load_study(folder: Path) -> Study:
    """Open a study as it was last asked for; raise ConfigError where there is none."""
    before = stored(folder)
    if before is None:
        fix = "finesweep sweep begins it."
        raise ConfigError(Problem("study", "must have begun", folder.name, fix))
    return open_study(build_plan(before[0]), folder)


def stored(folder: Path) -> tuple[Composition, str] | None:
    """Return the composition and data fingerprint of the study in `folder`, or None."""
    import optuna
    from sqlalchemy.exc import DatabaseError

    if not (folder / DATABASE).is_file():
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.load_study(study_name=folder.name, storage=open_storage(folder / DATABASE))
    except KeyError:
        return None  # killed between making the tables and the study
    except DatabaseError as error:
        rule = f"{folder / DATABASE} must be an SQLite database"
        raise ConfigError(Problem("study", rule, Verbatim(str(error.orig)))) from None
    attributes = study._storage.get_study_system_attrs(study._study_id)
    if PLAN not in attributes:
        return None
    return Composition.from_dict(attributes[PLAN]), str(attributes[DATA])


def create_or_update(plan: Plan, folder: Path, fingerprint: str) -> Study:
    """Make the study, or bring the stored budget and settings up to `plan`'s."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=plan.name,
        storage=open_storage(folder / DATABASE),
        directions=[objective.direction for objective in plan.objectives],
        load_if_exists=True,
    )
    study.set_metric_names([objective.name for objective in plan.objectives])
    for name, value in ((PLAN, plan.composition.as_dict()), (DATA, fingerprint)):
        study._storage.set_study_system_attr(study._study_id, name, value)
    return open_study(plan, folder)
