"""Weights & Biases: one run an attempt, grouped by study.

Online where there is a key, else offline: `wandb leet` reads the files, `wandb sync` sends
them. A W&B that fails or hangs never harms the run; the local record is complete without it.

On a full disk W&B raises nothing while it loses what it is given, and breaks when it finishes:
so its folder is looked at before every entry, and the log ends where there is no room.
"""

from __future__ import annotations

import logging
import netrc
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.logger.base import Identity, Logger, RunLog
from lightning_modules.machine.file import free_bytes, megabytes

if TYPE_CHECKING:
    import wandb

FINISH_SECONDS = 30.0
NEEDED_BYTES = 256 * 1024  # some blocks of W&B's log, and its table of this machine's packages
TAG_LENGTH = 64  # a longer one, or an empty one, and W&B refuses the run

log = logging.getLogger(__name__)


class Mode(Enum):
    """Whether W&B uses the network."""

    auto = "auto"
    online = "online"
    offline = "offline"


@dataclass(frozen=True, kw_only=True)
class Wandb(Logger):
    """Weights & Biases.

    Attributes:
        project: The project's name.
        entity: The team or user; None takes the key's default.
        mode: `auto` (online where there is a key), `online` or `offline`.

    """

    project: str
    entity: str | None
    mode: Mode

    def open(
        self,
        identity: Identity,
        config: Mapping[str, Any],
        note: Callable[[str], None] = lambda text: None,
    ) -> RunLog:
        import wandb

        try:
            identity.folder.mkdir(parents=True, exist_ok=True)
            _check_room(identity.folder)
            run = wandb.init(
                project=self.project,
                entity=self.entity,
                name=identity.name,
                group=identity.group,
                job_type=identity.job_type,
                tags=[tag[:TAG_LENGTH] for tag in identity.tags if tag] or None,
                # Absolute: an already running W&B, which writes it, stands in its own folder.
                dir=identity.folder.absolute(),
                mode=self._settled_mode(),
                config=dict(config),
                # Never the process's one global run: a worker opens one an attempt.
                reinit="create_new",
                settings=wandb.Settings(
                    silent=True, console="off", init_timeout=FINISH_SECONDS, disable_code=True
                ),
            )
        except Exception as error:  # whatever W&B raises, training goes on with the local record
            _tell(note, f"W&B is off for this run: {error}")
            return RunLog()
        return WandbLog(run, identity.folder, note)

    def _settled_mode(self) -> Any:
        if self.mode is not Mode.auto:
            return self.mode.value
        chosen = os.environ.get("WANDB_MODE")
        return chosen or ("online" if _has_key() else "offline")


class WandbLog(RunLog):
    """A live W&B run."""

    def __init__(self, run: wandb.Run, folder: Path, note: Callable[[str], None]) -> None:
        self._run = run
        self._folder = folder
        self._note = note
        self._is_broken = False

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._try(lambda: self._run.log(dict(values), step=step))

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:  # else it had no columns
            self._show(name, lambda: _table(rows, _columns(rows)))

    def line(
        self, name: str, rows: Sequence[Mapping[str, Any]], x: str, ys: Sequence[str], title: str
    ) -> None:
        def chart() -> Any:
            import wandb

            series = [
                [(row[x], row[y]) for row in rows if None not in (row.get(x), row.get(y))]
                for y in ys
            ]
            return wandb.plot.line_series(
                xs=[[at for at, _ in points] for points in series],
                ys=[[value for _, value in points] for points in series],
                keys=list(ys),
                title=title,
                xname=x,
            )

        self._show(name, chart)

    def bars(
        self, name: str, rows: Sequence[Mapping[str, Any]], label: str, value: str, title: str
    ) -> None:
        def chart() -> Any:
            import wandb

            drawn = [row for row in rows if row.get(value) is not None]
            return wandb.plot.bar(_table(drawn, [label, value]), label, value, title=title)

        self._show(name, chart)

    def images(self, name: str, paths: Sequence[Path]) -> None:
        def pictures() -> Any:
            import wandb

            return [wandb.Image(str(path), caption=path.stem) for path in paths]

        self._show(name, pictures)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._try(lambda: self._run.summary.update(dict(summary)))
        for handler in logging.getLogger("wandb").handlers:
            # On a full disk W&B's own log would print a traceback a line.
            handler.handleError = lambda record: None  # type: ignore[method-assign]
        # finish() waits for the network as long as it takes; the trial does not.
        closing = threading.Thread(target=self._attempt, args=(self._run.finish,), daemon=True)
        closing.start()
        closing.join(FINISH_SECONDS)
        if closing.is_alive():
            self._tell(f"W&B did not finish within {FINISH_SECONDS:g} s; the record is complete")

    def _show(self, name: str, make: Callable[[], Any]) -> None:
        def act() -> None:
            with _data_folder(Path(self._run.settings.sync_dir)):
                self._run.log({name: make()})

        self._try(act)

    def _try(self, act: Callable[[], object]) -> None:
        def act_in_room() -> None:
            _check_room(self._folder)
            act()

        if not self._is_broken:
            self._attempt(act_in_room)

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # whatever W&B raises, the run goes on with the local record
            if not self._is_broken:
                self._is_broken = True
                self._tell(f"W&B is off from here on: {error}")

    def _tell(self, text: str) -> None:
        _tell(self._note, text)


def _tell(note: Callable[[str], None], text: str) -> None:
    log.warning("%s", text)
    note(text)


def _check_room(folder: Path) -> None:
    free = free_bytes(folder)
    if free < NEEDED_BYTES:
        raise OSError(f"the disk is full: {folder} needs some room, {megabytes(free)} are free")


@contextmanager
def _data_folder(folder: Path) -> Iterator[None]:
    """Let W&B keep its copies of tables, for a later `wandb sync`, in `folder`.

    It would keep them in the user's home, for ever, and fail where that cannot be written.
    """
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def _table(rows: Sequence[Mapping[str, Any]], columns: list[str]) -> wandb.Table:
    import wandb

    cells = [[row.get(column) for column in columns] for row in rows]
    # A column may hold a number in one row and a word in the next, as a sampled value may.
    return wandb.Table(columns=columns, data=cells, allow_mixed_types=True)


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].strip("/")
    try:
        return netrc.netrc().authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
