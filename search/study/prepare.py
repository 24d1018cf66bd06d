"""Turn a plan into an open study: first all checks, then the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_modules.check import CheckedRows, check_fit, check_run
from lightning_modules.error import ConfigError, Problem, UserError, Verbatim
from lightning_modules.machine.file import write_json, write_text
from lightning_modules.machine.writable import check_writable
from lightning_modules.rows.corpus import Corpus
from search.config import Arm, Tree, leaves, resolved, steps_problem, to_yaml
from search.config.guard import KEY
from search.config.revision import REVISION, is_unnamed
from search.machine.provenance import PROVENANCE_FILE, provenance
from search.plan.build import build_plan
from search.plan.corners import check_corners
from search.plan.device import check_devices
from search.plan.guard import guard_fingerprints, guard_problems
from search.plan.objective import check_measurable
from search.plan.plan import Plan
from search.storage.location import DATABASE, STUDY_FILE, check_disk, is_local, shown, storage_of
from search.study.attempt import CONFIG_FILE
from search.study.follow import check_name, kinds
from search.study.heal import heal
from search.study.knowledge import Prior
from search.study.open import Stored, create_or_update, gives_up_prior, open_study, stored
from search.study.range import changes, ranges, record_changes
from search.study.study import Study
from search.study.suggest import first_values, waiting_trial
from search.study.warm import Warm, warm_of

# Settings that may change when a study is resumed; any other change would mix two experiments.
MAY_CHANGE = (
    "search.num_trials",
    "search.max_hours",
    "search.workers",
    "search.pack",
    "search.enqueue",
    "search.portfolio",
    "search.confirm",
    "search.certify",
    "search.certify_seeds",
    "search.warm_start",
    "search.keep",
    "search.max_attempts",
    "search.hang_seconds",
    "search.lease_seconds",
    "search.ask_hours",
    "search.plugins",
    "search.metric",  # compared as task.metric
    "search.select",  # compared as trainer.select
    "logger",
    "trainer.device",
    "trainer.num_data_workers",
    "trainer.checkpoint_seconds",
    "trainer.checkpoint_share",
    "trainer.gradient_checkpointing",  # the results are bit-equal
)

NO_ROWS = ""
"""The fingerprint of the rows of a study whose trials are trained elsewhere."""


def check_study(plan: Plan, folder: Path, corpus: Corpus | None = None) -> CheckedRows:
    """Check the data and the models, and that an existing study in `folder` is the same one.

    `corpus` has the rows of the default arm if they have been read.

    Raises:
        UserError: Lists what cannot be used, or what differs.

    """
    _check_place(folder)
    before = stored(folder)
    old = None if before is None else build_plan(before.composition)
    _check_ranges(plan, old)
    check_devices(plan.defaults.values())
    rows = _check_arms(plan, corpus)
    check_measurable(plan.objectives, plan.defaults.values())
    if problems := list(guard_problems(plan, rows.labels)):
        raise ConfigError(problems)
    if old is None or changes(old.space, plan.space):
        check_corners(plan, rows)
    if before is not None and old is not None:
        _check_same(plan, before, old, rows)
    warm_to(plan, before, folder, rows.corpus.fingerprint)
    for kind in kinds(plan):
        check_name(plan, folder, kind)
    return rows


def check_asked_study(plan: Plan, folder: Path) -> None:
    """Check that an existing study in `folder` is the same one.

    The loop that asks for trials brings its own data and models, which nobody here can check.

    Raises:
        UserError: Lists what differs.

    """
    _check_place(folder)
    before = stored(folder)
    old = None if before is None else build_plan(before.composition)
    _check_ranges(plan, old)
    if before is not None and old is not None:
        _check_same(plan, before, old, None)
    warm_to(plan, before, folder, NO_ROWS)


def prepare_study(plan: Plan, folder: Path, rows: CheckedRows | None) -> Study:
    """Write the study's configuration and provenance; return it with its queue filled.

    Args:
        plan: The plan.
        folder: The study's files.
        rows: Its checked rows; None if a loop of the caller's own trains its trials.

    """
    before = stored(folder)
    fingerprint = NO_ROWS if rows is None else rows.corpus.fingerprint
    warm = warm_to(plan, before, folder, fingerprint)
    taken_over = None if warm is None else warm.as_dict()
    old = None if before is None else build_plan(before.composition)
    if old is not None:
        open_study(old, folder).mark_first(old.first)
    prior = taken_over or _kept_prior(plan, before)
    queue = [waiting_trial(plan.space, values) for values in first_values(plan, prior)]
    guards = {} if rows is None else guard_fingerprints(plan, rows.labels)
    study = create_or_update(plan, folder, fingerprint, queue, taken_over, guards)
    write_text(folder / CONFIG_FILE, to_yaml(_whole(plan)))
    if before is None:
        values = provenance(plan.seed, fingerprint)
        write_json(folder / PROVENANCE_FILE, values)
    url = storage_of(folder)
    if not is_local(url):
        write_json(folder / STUDY_FILE, {"storage": shown(url)})
    study.ask_to_stop(False)
    heal(study)
    if old is not None:
        record_changes(study, old.space)
    return study


def _kept_prior(plan: Plan, before: Stored | None) -> Prior | None:
    """Return what the study has taken over earlier and does not give up."""
    if before is None or gives_up_prior(before.composition.tree, plan):
        return None
    return before.prior


def warm_to(plan: Plan, before: Stored | None, folder: Path, fingerprint: str) -> Warm | None:
    """Return what the study has to take over; None if it names no other study or has done it."""
    prior = None if before is None else before.prior
    if prior is not None and prior["study"] == plan.search.settings.warm_start:
        return None
    return warm_of(plan, folder.parents[1], fingerprint)


def _check_place(folder: Path) -> None:
    check_writable(folder, "study", "Change to a folder that can be written, e.g. cd ~.")
    url = storage_of(folder)
    if is_local(url):
        check_disk(folder)
    elif (folder / DATABASE).exists() and stored(folder) is None:
        rule = f"{folder} must not belong to another study"
        got = Verbatim(f"one with its own {DATABASE}")
        raise ConfigError(Problem("study", rule, got, "Choose another study=NAME."))


def _check_ranges(plan: Plan, old: Plan | None) -> None:
    """Check what a range may no longer be; studies that have one of earlier versions keep it."""
    known = {} if old is None else {name: each.text for name, each in ranges(old.space).items()}
    problems = [
        steps_problem(parameter.path, parameter.text)
        for name, parameter in ranges(plan.space).items()
        if parameter.text != known.get(name)
    ]
    if found := [problem for problem in problems if problem is not None]:
        raise ConfigError(dict.fromkeys(found))


def _check_same(plan: Plan, before: Stored, old: Plan, rows: CheckedRows | None) -> None:
    problems = list(_differences(old, plan))
    fingerprint = NO_ROWS if rows is None else rows.corpus.fingerprint
    if before.fingerprint != fingerprint and old.is_asked == plan.is_asked:
        rule = f"study {plan.name} was started with other rows"
        problems.append(Problem("data", rule, Verbatim("changed files"), _OTHER_NAME))
    if rows is not None and not problems:
        problems.extend(_changed_guards(plan, before, rows))
    if problems:
        raise ConfigError(problems)


def _changed_guards(plan: Plan, before: Stored, rows: CheckedRows) -> Iterator[Problem]:
    """Yield the guards whose data have changed, so that new scores compare with no earlier one."""
    found = guard_fingerprints(plan, rows.labels)
    for number, guard in enumerate(plan.guards):
        if before.guards.get(guard.name, found[guard.name]) != found[guard.name]:
            rule = f"study {plan.name} was started with other rows for guard {guard.name}"
            where = f"{KEY}.{number}.data"
            yield Problem(where, rule, Verbatim("changed files"), _OTHER_NAME)


def _check_arms(plan: Plan, corpus: Corpus | None) -> CheckedRows:
    """Check every arm's data and model; all arms have the same rows."""
    problems: dict[str, Problem] = {}
    loaded: dict[str, CheckedRows | None] = {}
    for run in plan.defaults.values():
        key = repr((run.data, run.task, run.model))
        try:
            if key not in loaded:
                loaded[key] = None
                is_read = run.data == plan.default.data and run.task == plan.default.task
                loaded[key] = check_run(run, corpus if is_read else None)
            else:
                rows = loaded[key]
                check_fit(run, rows.corpus if rows is not None else None)
        except UserError as error:
            problems |= {str(problem): problem for problem in error.problems}
    if problems:
        raise ConfigError(problems.values())
    return next(rows for rows in loaded.values() if rows is not None)


def _whole(plan: Plan) -> Tree:
    """Return the default arm's configuration with the ranges of all arms."""
    tree = resolved(plan.tree)
    parameters = plan.space.parameters.values()
    space = {parameter.name: parameter.text for parameter in parameters}
    return {**tree, "search": {**tree["search"], "space": space}}


_OTHER_NAME = "Choose another study=NAME, or restore the old value."


def _differences(old: Plan, new: Plan) -> Iterator[Problem]:
    if (old.is_asked, old.is_free) != (new.is_asked, new.is_free):
        yield _other_kind(old, new)
        return
    if old.is_free and old.objectives[0].name != new.objectives[0].name:
        rule = f"study {new.name} has {old.objectives[0].name!r}"
        yield Problem("search.metric", rule, new.objectives[0].name, _OTHER_NAME)
    for group in sorted(old.space.groups.keys() | new.space.groups.keys()):
        before, now = old.space.groups.get(group), new.space.groups.get(group)
        if set(before or ()) != set(now or ()):
            rule = _searched(new.name, ", ".join(before) if before else None)
            yield Problem(group, rule, Verbatim(", ".join(now) if now else "one"), _OTHER_NAME)
    problems: dict[str, Problem] = {}
    before_arms = {tuple(arm.choice.items()): arm for arm in old.composition.arms}
    for arm in new.composition.arms:
        before_arm = before_arms.get(tuple(arm.choice.items()))
        if before_arm is not None:
            differences = _setting_differences(new.name, before_arm, arm)
            problems |= {str(problem): problem for problem in differences}
    yield from problems.values()
    yield from _range_differences(old, new)


def _other_kind(old: Plan, new: Plan) -> Problem:
    """Return the problem of results that were not measured in the same way."""
    if old.is_asked != new.is_asked:
        rule = f"study {new.name} has {str(old.is_asked).lower()}"
        return Problem("search.ask_tell", rule, Verbatim(str(new.is_asked).lower()), _OTHER_NAME)
    direction = Verbatim(old.search.settings.direction or "none")
    rule = f"study {new.name} has {direction}"
    return Problem("search.direction", rule, new.search.settings.direction, _OTHER_NAME)


def _setting_differences(name: str, old: Arm, new: Arm) -> Iterator[Problem]:
    before, now = _settings(old.tree), _settings(new.tree)
    for path in sorted(before.keys() | now.keys()):
        if path == REVISION and is_unnamed(before):
            continue  # studies of earlier versions did not store it
        if before.get(path) != now.get(path):
            rule = f"study {name} has {before.get(path, 'no such key')!r}"
            yield Problem(path, rule, now.get(path, Verbatim("no such key")), _OTHER_NAME)


def _range_differences(old: Plan, new: Plan) -> Iterator[Problem]:
    """Yield a problem for each range that is new, gone or may not change as it does."""
    before, now = ranges(old.space), ranges(new.space)
    fix = f"Choose another study=NAME with search.warm_start={new.name}, or restore the old range."
    for name in sorted(before.keys() | now.keys()):
        was, is_now = before.get(name), now.get(name)
        if was is None or is_now is None:
            rule = _searched(new.name, was.text if was else None)
            got = Verbatim(is_now.text if is_now else "no range")
            yield Problem(name, rule, got, fix)
        elif new.limit is not None and not is_now.includes(was):
            # The combinations are counted, and trials outside the space would not be among them.
            rule = f"a space of choices alone can only be widened, from {was.text}"
            yield Problem(name, rule, Verbatim(is_now.text), fix)


def _searched(name: str, what: str | None) -> str:
    return (
        f"study {name} does not search this key"
        if what is None
        else f"study {name} searches {what}"
    )


def _settings(tree: Tree) -> dict[str, Any]:
    whole = resolved(tree)
    search = {key: value for key, value in whole["search"].items() if key != "space"}
    settings = leaves({**whole, "search": search})
    return {
        path: value
        for path, value in settings.items()
        if not any(path == name or path.startswith(f"{name}.") for name in MAY_CHANGE)
    }
