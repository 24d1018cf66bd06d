"""Find the best way to fine-tune a language model on your data.

import finesweep

study = finesweep.sweep("mine", "data=files", "data.train=my.csv", num_trials=20)
study.leaderboard()
study.best.params
study.predict(["Fine."])

The functions mirror the commands of `finesweep` and take the same overrides.
"""

from search.api import (
    Best,
    Model,
    Run,
    Study,
    Trial,
    UserError,
    check,
    open,
    plan,
    status,
    sweep,
    train,
)

__all__ = [
    "Best",
    "Model",
    "Run",
    "Study",
    "Trial",
    "UserError",
    "check",
    "open",
    "plan",
    "status",
    "sweep",
    "train",
]
