"""The part of the environment that W&B must not see, or must see another value of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning_modules.machine.writable import refusal

OF_ONE_RUN = (
    *("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_RESUME_FROM", "WANDB_FORK_FROM"),
    *("WANDB_NAME", "WANDB_RUN_NAME", "WANDB_RUN_GROUP", "WANDB_RUN_TAGS", "WANDB_TAGS"),
    *("WANDB_JOB_TYPE", "WANDB_RUN_JOB_TYPE", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"),
    *("WANDB_LAUNCH", "WANDB_LAUNCH_CONFIG_PATH", "WANDB_X_RUNQUEUE_ITEM_ID"),
    *("WANDB_X_LABEL", "WANDB__LABEL", "WANDB_X_PRIMARY", "WANDB__PRIMARY"),
)
"""Variables that describe one run of W&B. Under them, all trials of a study would be one run."""
CACHE = "WANDB_CACHE_DIR"
ERROR_REPORTING = "WANDB_ERROR_REPORTING"
DATA = "WANDB_DATA_DIR"


def variables_of_one_run() -> list[str]:
    """Return those variables of one run that are set."""
    return [name for name in OF_ONE_RUN if os.environ.get(name)]


@contextmanager
def environment_of(folder: Path, *, is_one_of_many: bool) -> Iterator[None]:
    """Start W&B with the right variables.

    Args:
        folder: The folder of its files.
        is_one_of_many: Whether the run belongs to a study, so that no variable may describe it.

    """
    values = {}
    if not _can_cache():
        # W&B's service prints its log on the terminal if it cannot write it to its cache.
        values[CACHE] = str((folder / "wandb" / "cache").absolute())
    if ERROR_REPORTING not in os.environ:
        # Reports of W&B's own errors go to other hosts, and look up their names offline, too.
        values[ERROR_REPORTING] = "false"
    with _changed(values, variables_of_one_run() if is_one_of_many else ()):
        yield


@contextmanager
def data_folder(folder: Path) -> Iterator[None]:
    """Make W&B store its copies of tables, for a later `wandb sync`, in `folder`.

    By default it stores them permanently in the user's home, and fails if that is not writable.
    """
    with _changed({} if DATA in os.environ else {DATA: str(folder)}, ()):
        yield


def _can_cache() -> bool:
    """Return whether W&B's service has a cache that it can write; it asks the variables alone."""
    chosen, cache, home = (os.environ.get(name) for name in (CACHE, "XDG_CACHE_HOME", "HOME"))
    folder = chosen or cache or (f"{home}/.cache" if home else None)
    return folder is not None and refusal(Path(folder)) is None


@contextmanager
def _changed(values: Mapping[str, str], hidden: Sequence[str]) -> Iterator[None]:
    """Set and hide variables, until the block ends."""
    before = {name: os.environ.get(name) for name in (*values, *hidden)}
    os.environ.update(values)
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
