"""What other libraries import is deferred to its first use, and is then complete."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from lightning_modules.machine.deferred import _defer

# In a process of its own, because what is imported cannot be seen twice.
FIRST_USE = """
import sys
from pathlib import Path
from lightning_modules.logger.base import Identity
from lightning_modules.logger.wandb import Mode, Wandb
from lightning_modules.machine.lightning import pl

def loaded(*names):
    return [name for name in names if name in sys.modules]

assert pl.LightningModule
unused = ("torchmetrics.functional.text", "torchmetrics.audio", "scipy.signal", "matplotlib")
assert not loaded(*unused), f"torchmetrics is not as expected: {loaded(*unused)}"

import torchmetrics.functional.classification
assert not loaded(*unused), loaded(*unused)

folder = Path("run")
logger = Wandb(project="p", entity=None, mode=Mode.offline, upload_model=False)
log = logger.open(Identity("r", None, folder), {})
assert log.file.exists()
log.finish({})
assert not loaded("wandb.sdk.launch", "wandb.sdk.launch.inputs.internal")
logs = [path.read_text() for path in folder.rglob("debug*.log")]
assert logs and not any("Problem applying launch job inputs" in text for text in logs), logs

metric = torchmetrics.aggregation.MeanMetric()
metric.update(2.0)
figure, axes = metric.plot()
assert axes.lines and loaded("matplotlib")

from torchmetrics import Accuracy, Metric
assert Metric is torchmetrics.metric.Metric and issubclass(Accuracy, Metric)
assert torchmetrics.functional.text.rouge_score
assert set(torchmetrics.__all__) <= set(dir(torchmetrics))
from wandb.sdk.launch.inputs.internal import StagedLaunchInputs
assert StagedLaunchInputs().add_staged_input
"""


@pytest.mark.thorough
def test_libraries_import_what_is_deferred_at_its_first_use(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FIRST_USE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


Deferred = Callable[[str], ModuleType]


@pytest.fixture
def defer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deferred:
    """Defer a package with this `__init__.py`, which is forgotten after the test."""

    def made(init: str) -> ModuleType:
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "__init__.py").write_text(init)
        (tmp_path / "late" / "part.py").write_text("value = 3\n")
        for name in ("late", "late.part"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
            del sys.modules[name]
        module: ModuleType = _defer("late")
        return module

    monkeypatch.syspath_prepend(tmp_path)
    return made


def test_a_package_runs_at_its_first_use(defer: Deferred) -> None:
    late = defer("from late.part import value\nran = value\n")
    assert import_module("late.part").value == 3
    assert not hasattr(late, "__wrapped__")
    assert "ran" not in vars(late)
    assert late.ran == 3
    assert import_module("late") is late
    with pytest.raises(AttributeError, match="'late' has no attribute 'missing'"):
        late.missing  # noqa: B018


def test_a_package_that_fails_says_so_each_time(defer: Deferred) -> None:
    late = defer("raise ImportError('broken')\n")
    for _ in range(2):
        with pytest.raises(ImportError, match="broken"):
            late.ran  # noqa: B018


def test_a_second_thread_waits_for_all_names(defer: Deferred) -> None:
    late = defer("import time\nfirst = 1\ntime.sleep(0.3)\nlast = 2\n")
    found = list[int]()
    threads = [threading.Thread(target=lambda: found.append(late.last)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2, 2]


def test_what_is_not_installed_cannot_be_deferred() -> None:
    with pytest.raises(ImportError, match="there is no late_nothing"):
        _defer("late_nothing")
