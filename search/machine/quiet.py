"""Keep other libraries quiet; called by commands and workers, never at import."""

from __future__ import annotations

import logging
import os
import warnings


def quiet_process() -> None:
    """Silence warnings, and what libraries print that are not imported yet, in our own process."""
    _set_variables()
    warnings.filterwarnings("ignore")


def quiet_training() -> None:
    """Silence what training would print; imports the heavy libraries.

    Warnings of the caller's code stay: in a notebook it is not ours to silence them.
    """
    import datasets
    import pytorch_lightning
    import transformers

    assert pytorch_lightning
    _set_variables()
    warnings.filterwarnings("ignore", module=_TRAINING)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    # Importing Lightning sets these levels, so they are raised afterwards.
    for name in ("pytorch_lightning", "lightning_fabric"):
        for part in (name, f"{name}.utilities.rank_zero"):
            logging.getLogger(part).setLevel(logging.ERROR)


# Whose warnings are about the code that trains, which the user did not write.
_TRAINING = r"(pytorch_lightning|lightning_fabric|torchmetrics|torch|transformers|peft|datasets)\b"


def _set_variables() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def import_all() -> None:
    """Import what any worker needs for any training, and be quiet about it."""
    quiet_process()
    quiet_training()
    import alembic.context
    import matplotlib.backends.backend_agg
    import optuna
    import sqlalchemy.orm
    import transformers.modeling_utils

    import lightning_modules.module

    assert alembic and matplotlib and optuna and sqlalchemy and transformers and lightning_modules
