"""The notebook runs from its first cell to its last, and a study behaves in a kernel."""

from __future__ import annotations

import os
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client import BlockingKernelClient, KernelManager
from nbclient import NotebookClient

import finesweep

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
SECONDS = 300.0  # for a cell, on a machine that does much else

# Long enough to be interrupted before its end on a machine that does much else.
SWEEP = """
import finesweep
study = finesweep.sweep(
    "s", "experiment=smoke", "logger=none", "data.batch_size=16", "trainer.epochs=40", num_trials=1
)
"""


def test_it_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) == 10
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


class Watched(NotebookClient):
    """Counts the kernel's messages for each cell."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.messages: Counter[tuple[int, str]] = Counter()

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        self.messages[cell_index, msg["msg_type"]] += 1
        return super().process_message(msg, cell, cell_index)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Watched]:
    """Run the notebook in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FINESWEEP_CACHE", str(cache))
        client = Watched(notebook, timeout=SECONDS, resources=resources)
        client.execute()
    assert (folder / "best" / "finesweep.json").is_file()
    assert len(list((folder / "studies/reviews/logs").glob("worker-[0-9].log"))) == 2
    yield client


@pytest.mark.thorough
def test_the_table_is_drawn_in_place(executed: Watched) -> None:
    (at,) = [n for n, cell in enumerate(executed.nb.cells) if "finesweep.sweep(" in cell.source]
    outputs = executed.nb.cells[at].outputs
    tables = [output for output in outputs if output.output_type == "display_data"]
    assert len(tables) == 1 and len(outputs) <= 6
    assert executed.messages[at, "display_data"] == 1
    assert executed.messages[at, "update_display_data"] >= 4  # each trial starts and ends
    assert "4 of 4 trials ended" in tables[0].data["text/plain"]
    assert "4 of 4 trials ended" in tables[0].data["text/html"]


@pytest.mark.thorough
def test_each_cell_shows_what_it_says_and_no_warning(executed: Watched) -> None:
    outputs = [output for cell in executed.nb.cells for output in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    tables = [o.data["text/html"] for o in outputs if "text/html" in o.get("data", {})]
    assert any("optimizer.lr" in table and "<table" in table for table in tables)
    assert any("prediction" in table and "It broke on the second day." in table for table in tables)
    last = executed.nb.cells[-1].outputs[-1].data["text/plain"]
    assert "'accuracy'" in last


@pytest.fixture
def kernel(here: Path) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager = KernelManager()
    manager.start_kernel(cwd=str(here), env=dict(os.environ))
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=SECONDS)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.thorough
def test_an_interrupted_kernel_lives_and_the_same_cell_continues(
    kernel: tuple[KernelManager, BlockingKernelClient], here: Path
) -> None:
    manager, client = kernel
    client.execute(SWEEP)
    wait_until(lambda: num_validations(here) > 0)
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=SECONDS)["content"]
    assert reply["ename"] == "KeyboardInterrupt"
    assert reply["evalue"] == "study s was interrupted; repeat the call to continue"
    assert finesweep.open(study="s").status()["states"]["waiting"] == 1

    assert execute(client, SWEEP)["status"] == "ok"
    done = execute(client, "assert study.leaderboard()['attempts'].tolist() == [2]")
    assert done["status"] == "ok"
    assert finesweep.open(study="s").status()["states"]["complete"] == 1

    mistake = execute(client, "finesweep.open(study='t')")
    assert mistake["traceback"] == [  # one line, and no traceback
        "ConfigError: study: must be a study in studies/, got 't'. Known: s."
    ]


def execute(client: BlockingKernelClient, code: str) -> dict[str, Any]:
    reply: dict[str, Any] = client.execute_interactive(code, timeout=SECONDS, output_hook=ignore)
    return reply["content"]


def ignore(message: dict[str, Any]) -> None:
    pass


def num_validations(folder: Path) -> int:
    if not (folder / "studies" / "s" / "study.db").is_file():
        return 0
    try:
        trials = finesweep.open(study="s")._study.trials
    except (finesweep.UserError, queue.Empty):
        return 0
    return len(trials[0].intermediate_values) if trials else 0


def wait_until(is_there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_there():
        assert time.monotonic() < deadline
        time.sleep(0.2)
