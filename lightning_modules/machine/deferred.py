"""Parts of other libraries that are imported only once somebody uses them.

Lightning imports torchmetrics for two classes, and `torchmetrics/__init__.py` imports all metrics,
for audio, images and text, and SciPy's signal processing. `wandb.init` imports W&B Launch to look
for inputs that only an importer of Launch can have left there. Together they take 2 s of each start
of a command that trains (`benchmarks/start.py`), and nothing here uses them.

No code of a library is replaced. What was deferred is imported in full at its first use, by
whomever; if a library is not as expected here, it is imported as usual.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_LOCK = threading.RLock()

_LAUNCH_INPUTS = "wandb.sdk.launch.inputs.internal"


def defer_torchmetrics() -> None:
    """Import torchmetrics, if it is not yet, with its `__init__` files left for their first use."""
    packages = ("torchmetrics", "torchmetrics.functional")
    if packages[0] in sys.modules:
        return
    try:
        for name in packages:
            _defer(name)
        whole: Any = sys.modules[packages[0]]
        whole.__version__ = import_module("torchmetrics.__about__").__version__
        whole._logger = logging.getLogger("torchmetrics")
        import_module("torchmetrics.utilities")  # in this order, because it imports the metric
        whole.Metric = import_module("torchmetrics.metric").Metric
        whole.MetricCollection = import_module("torchmetrics.collections").MetricCollection
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == packages[0]]:
            del sys.modules[name]


class _Package(ModuleType):
    """A package whose submodules can be imported, and whose `__init__` runs at its first use."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # asked of every module, e.g. by inspect
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _LOCK:  # another thread waits until all names are there
            if type(self) is _Package and not self.__dict__.get("_is_running", False):
                self._run()
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

    def _run(self) -> None:
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self._is_running = True
        try:
            self.__spec__.loader.exec_module(self)
        finally:
            del self._is_running
        self.__class__ = ModuleType  # type: ignore[assignment] # a subclass without other fields


def _defer(name: str) -> None:
    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"{name} is not a package")
    package = module_from_spec(spec)
    package.__class__ = _Package
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


@contextmanager
def launch_deferred() -> Iterator[None]:
    """Let `wandb.init` find no inputs of W&B Launch, unless Launch was imported before."""
    if _LAUNCH_INPUTS in sys.modules:
        yield
        return
    empty: Any = ModuleType(_LAUNCH_INPUTS)
    empty.StagedLaunchInputs = _NoInputs
    sys.modules[_LAUNCH_INPUTS] = empty
    try:
        yield
    finally:
        sys.modules.pop(_LAUNCH_INPUTS, None)


class _NoInputs:
    """The inputs that nobody has left."""

    def apply(self, run: Any) -> None:
        """Apply none."""
