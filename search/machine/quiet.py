"""Keep other libraries quiet; called by commands and workers, never at import."""

from __future__ import annotations

import logging
import os
import warnings

from lightning_modules.machine import parallel
from lightning_modules.machine.memory import importing


def quiet_process() -> None:
    """Silence warnings, and output of libraries that are imported later, in our own process."""
    _set_variables()
    warnings.filterwarnings("ignore")


def quiet_training() -> None:
    """Silence the output of training; imports the heavy libraries.

    Warnings about the caller's code remain, because a notebook belongs to the user.
    """
    with importing():
        import datasets
        import transformers

        from lightning_modules.machine.lightning import pl

    assert pl
    _set_variables()
    warnings.filterwarnings("ignore", module=_TRAINING)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    # Importing Lightning sets these levels, so raise them afterwards.
    for name in ("pytorch_lightning", "lightning_fabric"):
        for part in (name, f"{name}.utilities.rank_zero"):
            logging.getLogger(part).setLevel(logging.ERROR)


# Modules of the training code, whose warnings the user cannot act on.
_TRAINING = r"(pytorch_lightning|lightning_fabric|torchmetrics|torch|transformers|peft|datasets)\b"


def _set_variables() -> None:
    os.environ.setdefault(parallel.VARIABLE, parallel.OFF)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def import_training() -> None:
    """Import everything that the training of a run needs, without output."""
    quiet_training()
    with importing():
        import lightning_modules.fit

    assert lightning_modules


def import_all() -> None:
    """Import everything that workers need for training, without output."""
    quiet_process()
    quiet_training()
    with importing():
        import alembic.context
        import optuna
        import sqlalchemy.orm
        import transformers.modeling_utils
        import wandb

        import lightning_modules.module

    assert alembic and optuna and sqlalchemy and transformers and wandb
    assert lightning_modules
