"""Create, open and find studies, and read the plans that their storage holds."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem
from search.config import Composition, Follows, Tree, check_named, completed
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.sampler.base import seeded_sampler
from search.storage.add import add_trials
from search.storage.attribute import DATA, GUARD_DATA, ID, PLAN, PRIOR, ROOT
from search.storage.engine import open_storage
from search.storage.location import (
    DATABASE,
    file_of,
    folder_name,
    is_local,
    root_of,
    shown,
    storage_of,
    study_folder,
)
from search.storage.retry import Retry, not_of_studies
from search.study.attempt import where_is
from search.study.knowledge import Prior, view_of
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def open_study(plan: Plan, folder: Path, retry: Retry | None = None) -> Study:
    """Open the study's storage under a plan; the study must exist."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(storage_of(folder), retry)
    study = optuna.load_study(study_name=plan.name, storage=storage)
    view = view_of(study, plan.space)
    study.sampler = seeded_sampler(
        plan.search.sampler, plan.space, plan.sampler_seed, view, plan.defaults_of_arms
    )
    return Study(plan, folder, study, storage)


def study_folders(root: Path) -> list[Path]:
    """Return the folders of all studies under `root`, or on the server, sorted by name."""
    url = storage_of(root)
    if is_local(url):
        return sorted(path.parent for path in (root / "studies").glob(f"*/{DATABASE}"))
    names = [
        study.study_name
        for study in open_storage(url).get_all_studies()
        if Follows.stored(study.system_attrs.get(PLAN, {})) is None  # else shown with that study
    ]
    # Other tools may have studies there too, under names that are not valid here.
    return [study_folder(root, name) for name in sorted(names) if folder_name(name) == name]


def load_study(folder: Path, retry: Retry | None = None) -> Study:
    """Open a study with its last plan; raise ConfigError if there is no such study."""
    before = stored(folder, retry)
    if before is None:
        fix = "Start it with finesweep sweep."
        raise ConfigError(Problem("study", "must have been started", folder.name, fix))
    return open_study(build_plan(before.composition), folder, retry)


@dataclass(frozen=True)
class Stored:
    """The plan and origin of a study, as its storage holds them.

    Attributes:
        id: Random text that distinguishes the study from an earlier one of the same name.
        composition: Its last configuration.
        fingerprint: The fingerprint of its rows.
        root: The host and folder where it was started, e.g. `host:/folder`.
        prior: What it has taken over from another study; None if nothing.
        guards: The fingerprint of each guard's data, by its name; earlier versions stored none.

    """

    id: str
    composition: Composition
    fingerprint: str
    root: str
    prior: Prior | None = None
    guards: Mapping[str, str] = field(default_factory=dict)


def stored(folder: Path, retry: Retry | None = None) -> Stored | None:
    """Return the stored plan of the study in `folder`, or None.

    Raises:
        NotNamed: It would import packages that nobody here has named; none was imported.

    """
    found = read_stored(folder, retry)
    if found is None:
        return None
    arms = found.composition.arms
    words = [*found.composition.words, *(word for arm in arms for word in arm.words)]
    check_named(folder.name, [arm.tree for arm in arms], words)
    arms = tuple(replace(arm, tree=completed(arm.tree)) for arm in arms)
    return replace(found, composition=replace(found.composition, arms=arms))


def read_stored(folder: Path, retry: Retry | None = None) -> Stored | None:
    """Return the stored plan as it was written, perhaps by an earlier version; import nothing."""
    url = storage_of(folder)
    if is_local(url) and not file_of(url).is_file():
        return None
    import optuna
    from sqlalchemy.exc import DatabaseError  # 0.3 s, which `plan` of a new study does not need

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = open_storage(url, retry)
        attributes = storage.get_study_system_attrs(storage.get_study_id_from_name(folder.name))
    except KeyError:
        return None  # killed after creating the tables but before the study
    except DatabaseError as error:
        raise ConfigError(not_of_studies(shown(url), str(error.orig))) from None
    if PLAN not in attributes:
        return None
    composition = Composition.from_dict(attributes[PLAN])
    fingerprint, root = str(attributes[DATA]), str(attributes.get(ROOT, ""))
    prior = attributes.get(PRIOR) or None  # empty: it was given up
    guards = attributes.get(GUARD_DATA, {})
    return Stored(str(attributes.get(ID)), composition, fingerprint, root, prior, guards)


def gives_up_prior(before: Tree, plan: Plan) -> bool:
    """Return whether a plan takes back the `search.warm_start` of the study's tree before."""
    had = before["search"].get("warm_start") is not None
    return had and plan.search.settings.warm_start is None


def create_or_update(
    plan: Plan,
    folder: Path,
    fingerprint: str,
    queue: Sequence[FrozenTrial] = (),
    prior: Prior | None = None,
    guards: Mapping[str, str] | None = None,
) -> Study:
    """Create the study, or update its stored budget and settings to those of `plan`.

    Args:
        plan: The plan.
        folder: The study's files.
        fingerprint: The fingerprint of its rows.
        queue: Trials to add within the budget before any worker sees that budget.
        prior: What it takes over from another study; None leaves what it has.
        guards: The fingerprint of each guard's data, by its name; None leaves what it has.

    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(storage_of(folder))
    study = optuna.create_study(
        study_name=plan.name,
        storage=storage,
        directions=[objective.direction for objective in plan.objectives],
        load_if_exists=True,
    )
    with warnings.catch_warnings():  # experimental in Optuna
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective.name for objective in plan.objectives])
    add_trials(storage, study._study_id, plan.num_trials, queue)
    known = storage.get_study_system_attrs(study._study_id)
    values: dict[str, Any] = {DATA: fingerprint}
    if ID not in known:
        values |= {ID: secrets.token_hex(8), ROOT: where_is(root_of(folder))}
    if PLAN in known and gives_up_prior(known[PLAN]["arms"][0]["tree"], plan):
        values[PRIOR] = {}
    if prior is not None:
        values[PRIOR] = dict(prior)
    if guards is not None:
        values[GUARD_DATA] = dict(guards)
    values[PLAN] = plan.composition.as_dict()  # last: a study exists once it has a plan
    for name, value in values.items():
        storage.set_study_system_attr(study._study_id, name, value)
    return open_study(plan, folder)
