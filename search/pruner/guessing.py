"""Whether trials have left the level of guessing, where no comparison says anything.

At the start every trial answers as badly as an untrained network. That level
is not known from outside for every task and loss, so it is read off the study: S, the median of the
trials' first validations. With F, the best value that any trial ever had, the compared trials have
left it once the best of them has made a share of the way from S to F.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from search.pruner.progress import Progress

SHARE = 0.25


def has_left_guessing(values_here: Sequence[float], trials: Iterable[Progress], name: str) -> bool:
    """Return whether the best of `values_here` is better than guessing.

    Args:
        values_here: What is compared; larger is better.
        trials: All trials of the study that were validated.
        name: The name of what is compared.

    """
    firsts, bests = [], []
    for trial in trials:
        values = [mark.values[name] for mark in trial.curve if name in mark.values]
        finite = [value for value in values if math.isfinite(value)]
        firsts += finite[:1]
        bests += [max(finite)] if finite else []
    if not firsts:
        return False
    start, best = median(firsts), max(bests)
    return best > start and max(values_here) - start >= SHARE * (best - start)
