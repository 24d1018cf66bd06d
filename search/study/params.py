"""What a trial was trained with, or starts with, as its storage says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.space.space import Space
from search.storage.attribute import FIXED, VALUES

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def params_of(space: Space, trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's values by config path."""
    if VALUES in trial.user_attrs:
        return dict(trial.user_attrs[VALUES])
    return space.by_path({**trial.system_attrs.get(FIXED, {}), **trial.params})
