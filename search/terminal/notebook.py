"""A study's live table in a notebook: one output of the cell, redrawn in place."""

from __future__ import annotations

import io
import sys
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

from search.terminal.live import LiveTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.report.snapshot import Snapshot

WIDTH, HEIGHT = 110, 40  # characters that fit into a cell's output


def in_notebook() -> bool:
    """Return whether output goes to a notebook cell."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def quiet_widgets() -> None:
    """Silence in a notebook what tqdm says without ipywidgets: none of its bars is shown."""
    if in_notebook():
        warnings.filterwarnings("ignore", message="IProgress not found")


class NotebookTable(LiveTable):
    """The terminal's table, as preformatted text that is replaced in place."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        from rich.console import Console

        super().__init__(take, Console(file=io.StringIO(), width=WIDTH, height=HEIGHT))
        self._output: Any = None

    def line(self, text: str) -> None:
        print(text, flush=True)

    def _open(self) -> None:
        from IPython.display import display

        self._output = display(_bundle(""), raw=True, display_id=True)

    def _close(self) -> None:
        pass

    def _show(self, table: Any) -> None:
        self._output.update(_bundle(table.plain), raw=True)


def _bundle(text: str) -> dict[str, str]:
    """Return a text as HTML for a browser, and as it is for other viewers."""
    style = "line-height: 1.2; white-space: pre; overflow-x: auto"
    return {"text/html": f'<pre style="{style}">{escape(text)}</pre>', "text/plain": text}
