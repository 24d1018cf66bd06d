"""Parts of other libraries that are imported only once somebody uses them.

Lightning imports torchmetrics for two classes. `torchmetrics/__init__.py` imports all metrics, for
audio, images and text, SciPy's signal processing and matplotlib. `wandb.init` imports W&B Launch to
look for inputs that only an importer of Launch can have left there. Together they take 2 s of each
start of a command that trains (`benchmarks/start.py`), and nothing here uses them.

No code of a library is replaced. What was deferred is imported in full at its first use, by
whomever; if a library is not as expected here, it is imported as usual.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

_LOCK = threading.RLock()

_LAUNCH_INPUTS = "wandb.sdk.launch.inputs.internal"


def defer_torchmetrics() -> None:
    """Import torchmetrics, if it is not yet, with most of it left for its first use."""
    if "torchmetrics" in sys.modules:
        return
    try:
        whole = _defer("torchmetrics")
        whole.__version__ = import_module("torchmetrics.__about__").__version__
        whole._logger = logging.getLogger("torchmetrics")
        whole.functional = _defer("torchmetrics.functional", whole.__path__)
        plot = _defer_plot([f"{path}/utilities" for path in whole.__path__])
        utilities: Any = import_module("torchmetrics.utilities")  # first: it imports the metric
        utilities.plot = plot
        whole.Metric = import_module("torchmetrics.metric").Metric
        whole.MetricCollection = import_module("torchmetrics.collections").MetricCollection
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
            del sys.modules[name]


def _defer_plot(folders: Sequence[str]) -> Any:
    """Defer the module that imports matplotlib, for the method of a metric that draws it."""
    plot = _defer("torchmetrics.utilities.plot", folders)

    def draw(*args: Any, **kwargs: Any) -> Any:
        _run(plot)
        return plot.plot_single_or_multi_val(*args, **kwargs)

    plot.plot_single_or_multi_val = draw
    plot._AX_TYPE = plot._PLOT_OUT_TYPE = Any  # of annotations
    return plot


class _Late(ModuleType):
    """A module that runs at its first use; if it is a package, its submodules can be imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # asked of every module, e.g. by inspect
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        _run(self)
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


def _defer(name: str, folders: Sequence[str] | None = None) -> Any:
    """Return a module, found in these folders or in `sys.path`, that runs at its first use."""
    spec = PathFinder.find_spec(name, folders)
    if spec is None:
        raise ImportError(f"there is no {name}")
    module = module_from_spec(spec)
    module.__class__ = _Late
    sys.modules[name] = module
    return module


def _run(module: ModuleType) -> None:
    with _LOCK:  # another thread waits until all names are there
        if type(module) is not _Late or vars(module).get("_is_running"):
            return
        assert module.__spec__ is not None
        assert module.__spec__.loader is not None
        vars(module)["_is_running"] = True
        try:
            module.__spec__.loader.exec_module(module)
        finally:
            del vars(module)["_is_running"]
        module.__class__ = ModuleType  # type: ignore[assignment]


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
