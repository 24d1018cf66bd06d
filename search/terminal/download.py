"""Download models of the hub before training: a bar on a terminal, otherwise one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.error import UserError
from lightning_modules.machine.hub.snapshot import Snapshot
from lightning_modules.model.base import Model
from search.config import Composition, build_run
from search.plan.download import missing_of, size
from search.terminal.live import is_live

if TYPE_CHECKING:
    from rich.progress import Progress


def fetch_models(models: Iterable[tuple[Model, bool]], *, show: bool) -> None:
    """Download what is missing of the models, one after the other.

    Here nothing waits for it and its failure stops nothing; in the workers it would.

    Args:
        models: Each with whether its weights are needed.
        show: Whether to print.

    Raises:
        ConfigError: The hub does not give a file. Those that are complete stay.

    """
    for model, weights in models:
        if (snapshot := model.snapshot()) is not None:
            _fetch(snapshot, weights=weights, show=show)


def fetch_base(snapshot: Snapshot) -> Path:
    """Download what is missing of an export's base model, and say so; return its folder."""
    if snapshot.note:
        _print(snapshot.note)
    return _fetch(snapshot, weights=True, show=True)


def _fetch(snapshot: Snapshot, *, weights: bool, show: bool) -> Path:
    download = missing_of(snapshot, weights=weights)
    with _shown(download.name, download.missing_bytes, show=show) as (on_bytes, say):
        return snapshot.fetch(weights=weights, on_bytes=on_bytes, say=say)


def say_pending(composition: Composition) -> None:
    """Say which rows are downloaded before anything else can be checked."""
    if composition.tree.get("search", {}).get("ask_tell", False):
        return  # the rows are the caller's own
    try:
        pending = build_run(composition.tree).data.pending()
    except UserError:
        return  # reported with everything else that is wrong
    if pending is not None:
        _print(f"downloading {pending} ...")


@contextmanager
def _shown(
    name: str, num_bytes: int, *, show: bool
) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """Yield what receives the bytes that come, and what receives lines."""
    if not show or not num_bytes:
        yield _nothing, _nothing
    elif not is_live(sys.stderr):
        print(f"downloading {name} ({size(num_bytes)}) ...", file=sys.stderr, flush=True)
        yield _nothing, _print
    else:
        with _bar() as progress:
            task = progress.add_task(f"downloading {name}", total=num_bytes)
            yield (
                lambda num: progress.advance(task, num),
                lambda text: progress.console.print(
                    text, markup=False, highlight=False, soft_wrap=True
                ),
            )


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _nothing(_: object) -> None:
    pass
