# The types of `finesweep.py`, which the wheel installs as finesweep-stubs: a single file cannot
# have a py.typed of its own.
from search.api import *  # noqa: F403
