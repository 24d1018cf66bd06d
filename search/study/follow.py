"""Studies that follow another one: they train some of its configurations again.

A follow-up study is in the storage and the folder of the study that it follows. Its queue is
decided by that one (`search.study.confirm`, `search.study.certify`), and its trials are nothing but
that queue. Workers train it like any study, so a run of it is leased, resumed and counted once.
Runs that are there are not queued again, so a queue can be filled further at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.check import check_same_rows
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.rows.corpus import Corpus
from search.config import Composition, Follows
from search.plan import certify, confirm
from search.plan.follow import Fresh, follow_up_plan
from search.plan.plan import Plan
from search.space.key import canonical_key
from search.storage.attribute import START
from search.storage.engine import open_storage
from search.storage.location import (
    CERTIFY,
    CONFIRM,
    FOLLOW_UPS,
    follow_up_folder,
    storage_of,
)
from search.study.heal import heal
from search.study.open import create_or_update, load_study, read_stored, stored
from search.study.study import Study
from search.study.suggest import waiting_trial

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.trial import FrozenTrial

DOES = {CONFIRM: "confirms the first few", CERTIFY: "certifies the winner"}
"""What a follow-up study does, to be read with the name of the study that it follows."""
_TURNED_OFF = {CONFIRM: "search.confirm=0", CERTIFY: "search.certify=false"}


def kinds(plan: Plan) -> list[str]:
    """Return which studies follow one with that plan."""
    found = {CONFIRM: confirm.confirms(plan), CERTIFY: certify.certifies(plan)}
    return [kind for kind in FOLLOW_UPS if found[kind]]


def filled(
    study: Study,
    kind: str,
    fresh: Fresh,
    entries: Sequence[Mapping[str, Any]],
    hours: float | None,
    corpus: Corpus | None = None,
) -> Study:
    """Return the follow-up study with these runs in its queue.

    Args:
        study: The study that it follows.
        kind: What it does.
        fresh: What differs between the runs of one configuration.
        entries: The runs: values by config path, that of `fresh` included.
        hours: All training hours that it may take; None sets no limit.
        corpus: The rows of the study, if they have been read.

    Raises:
        UserError: The rows have changed, or another study has the name that is needed.

    """
    plan, folder = study.plan, follow_up_folder(study.folder, kind)
    check_name(plan, study.folder, kind)
    if corpus is None:
        corpus = plan.default.data.load(plan.default.task)
        check_same_rows(corpus.fingerprint, study.data_fingerprint)
    keys = {canonical_key(entry) for entry in entries}
    follows = Follows(kind, plan.name)
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        num_trials = len(queued(folder).keys() | keys)
        again = follow_up_plan(plan, follows, folder.name, fresh, num_trials, hours)
        queue = [waiting_trial(again.space, entry) for entry in entries]
        following = create_or_update(again, folder, corpus.pool_fingerprint, queue)
        if keys <= queued(folder).keys():  # else another process has filled the queue meanwhile
            break
    following.ask_to_stop(False)
    heal(following)
    return following


def queued(folder: Path) -> dict[str, bool]:
    """Return the configurations of the study in `folder` by key, and whether they have ended."""
    storage = open_storage(storage_of(folder))
    try:
        trials = storage.get_all_trials(storage.get_study_id_from_name(folder.name), deepcopy=False)
    except KeyError:
        return {}
    return {trial.system_attrs[START]: trial.state.is_finished() for trial in trials}


def follow_up(study: Study, kind: str) -> Study | None:
    """Return the study of that kind that follows a study; None if none has begun."""
    folder = follow_up_folder(study.folder, kind)
    before = stored(folder)
    is_own = before is not None and before.composition.follows == Follows(kind, study.plan.name)
    return load_study(folder) if is_own else None


def ask_to_stop(study: Study) -> Sequence[FrozenTrial]:
    """Ask a study and those that follow it to start no more trials.

    Returns: The trials that are running.
    """
    study.ask_to_stop(True)
    every = list(study.trials)
    for kind in FOLLOW_UPS:
        following = follow_up(study, kind)
        if following is not None:
            following.ask_to_stop(True)
            every += following.trials
    return [trial for trial in every if trial.state.name == "RUNNING"]


def refuse_follow_up(name: str, composition: Composition) -> None:
    """Raise ConfigError if a study follows another one, which decides its queue and has a best."""
    follows = composition.follows
    if follows is not None:
        rule = f"it {DOES[follows.kind]} of study {follows.study}"
        raise ConfigError(Problem("study", rule, name, f"Name study={follows.study}."))


def check_name(plan: Plan, folder: Path, kind: str) -> None:
    """Raise ConfigError if another study has the name of the follow-up study.

    On a server all studies share one table; here that study would no longer be found by its name.
    """
    inside = follow_up_folder(folder, kind)
    for place in (inside, folder.with_name(inside.name)):
        other = read_stored(place)
        if other is not None and other.composition.follows != Follows(kind, plan.name):
            does = DOES[kind].replace("the", "its", 1)
            rule, got = f"study {plan.name} {does} in a study {inside.name}", "another one"
            fix = f"Choose another study=NAME, or set {_TURNED_OFF[kind]}."
            raise ConfigError(Problem(f"search.{kind}", rule, Verbatim(got), fix))
