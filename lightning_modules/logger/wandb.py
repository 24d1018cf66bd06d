"""Weights & Biases: one W&B run per attempt, grouped by study.

Every run is written offline: `wandb leet` shows the files and `wandb sync` uploads them. If there
is an API key, they are uploaded while they are written (`upload.py`). If W&B fails or hangs, the
run continues; the local files are complete without it.

On a full disk W&B silently loses data and then fails when it finishes. So the free space is checked
before every entry, and logging stops if there is too little.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.logger.base import Identity, Logger, Logs, RunLog
from lightning_modules.logger.environment import (
    data_folder,
    environment_of,
    variables_of_one_run,
)
from lightning_modules.logger.upload import (
    FINISH_SECONDS,
    Server,
    UploadError,
    Uploads,
    forget_failure,
    unsent_note,
)
from lightning_modules.machine.deferred import launch_deferred
from lightning_modules.machine.file import free_bytes, megabytes
from lightning_modules.machine.memory import importing

if TYPE_CHECKING:
    import wandb

HURRY_SECONDS = 3.0
NEEDED_BYTES = 256 * 1024  # some blocks of W&B's log, and its list of installed packages
_ONLINE = ("online", "shared", "run")  # of W&B's modes
TAG_LENGTH = 64  # W&B refuses a run with a longer tag, or an empty one

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
        entity: The team or user; None takes the API key's default.
        mode: `auto` (online if there is an API key), `online` or `offline`. Online, runs are sent
            while they are written.
        upload_model: Whether the study's run has the winner's exported model as an artifact.

    """

    project: str
    entity: str | None
    mode: Mode
    upload_model: bool

    def start(self, folder: Path) -> Logs:
        return WandbLogs(self, folder)

    def forget_failure(self, folder: Path) -> None:
        forget_failure(folder)

    def open(
        self,
        identity: Identity,
        config: Mapping[str, Any],
        note: Callable[[str], None] = lambda text: None,
    ) -> RunLog:
        """Return a log that is only local."""
        try:
            identity.folder.mkdir(parents=True, exist_ok=True)
            _check_space(identity.folder)
            with (
                environment_of(identity.folder, is_one_of_many=identity.group is not None),
                launch_deferred(),
            ):
                run = self._started(identity, config)
        except Exception as error:  # after any W&B error, training continues with the local files
            _warn(note, f"W&B logging is off for this run: {error}")
            return RunLog()
        return WandbLog(run, identity.folder, note)

    @property
    def keeps_model(self) -> bool:
        return self.upload_model

    def study_notes(self) -> list[str]:
        names = variables_of_one_run()
        if not names:
            return []
        verb, be = ("describes", "is") if len(names) == 1 else ("describe", "are")
        what = f"{verb} a single W&B run, and so {be} not used for this study"
        return [f"{', '.join(names)} {what}"]

    def _started(self, identity: Identity, config: Mapping[str, Any]) -> wandb.Run:
        with importing():
            import wandb

            packages = _packages()
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            name=identity.name,
            group=identity.group,
            # A trial's own, even if the caller's process has started W&B for one run before.
            id=None if identity.group is None else secrets.token_hex(6),
            job_type=identity.job_type,
            tags=[tag[:TAG_LENGTH] for tag in identity.tags if tag] or None,
            # Absolute, because W&B's service process, which writes there, has its own folder.
            dir=identity.folder.absolute(),
            # "disabled" is the only other mode in which nothing is sent.
            mode="disabled" if self.resolved_mode() == "disabled" else "offline",
            config=dict(config),
            # Not the process's single global run: a worker opens one per attempt.
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                **({} if packages is None else {"x_save_requirements": False}),  # done below
                # The default is the process that imported W&B, from which workers are forked.
                x_stats_pid=os.getpid(),
                x_stats_disk_paths=(str(identity.folder.absolute()),),
            ),
        )
        if packages is not None and run._interface is not None:
            run._interface.publish_python_packages(packages)
        return run

    def resolved_mode(self) -> str:
        """Return a mode of W&B; if ours is `auto`, its environment or `wandb offline` decides."""
        if self.mode is not Mode.auto:
            return str(self.mode.value)
        return os.environ.get("WANDB_MODE") or _stored_mode() or "auto"


class WandbLogs(Logs):
    """The W&B runs of a folder, which are sent while they are written if there is an API key."""

    def __init__(self, logger: Wandb, folder: Path) -> None:
        super().__init__(logger)
        self._resolved_mode = logger.resolved_mode
        self._mode = ""  # not asked yet: W&B reads its environment when the first run is opened
        self._uploads = Uploads(folder, lambda: Server(_settings(folder)))
        self._folder = folder

    def open(
        self, identity: Identity, config: Mapping[str, Any], note: Callable[[str], None]
    ) -> RunLog:
        log = super().open(identity, config, note)
        if isinstance(log, WandbLog) and self._is_online(note):
            with environment_of(self._folder, is_one_of_many=identity.group is not None):
                self._uploads.add(log.file)
            log.when_logged(lambda: self._say(note))
        return log

    def close(self, *, in_a_hurry: bool = False) -> list[str]:
        self._uploads.close(HURRY_SECONDS if in_a_hurry else FINISH_SECONDS)
        return self._uploads.notes()

    def unsent(self) -> list[str]:
        note = unsent_note(self._folder) if self._mode in _ONLINE else None
        return [] if note is None else [note]

    def _say(self, note: Callable[[str], None]) -> None:
        for text in self._uploads.notes():
            _warn(note, text)

    def _is_online(self, note: Callable[[str], None]) -> bool:
        if not self._mode:
            try:
                mode = self._resolved_mode()
                if mode == "auto":
                    mode = "offline" if _credentials() is None else "online"
                self._mode = mode
            except Exception as error:  # e.g. a key of a wrong length
                self._mode = "offline"
                _warn(note, f"W&B stays offline: {error}")
        return self._mode in _ONLINE


class WandbLog(RunLog):
    """A live W&B run."""

    def __init__(self, run: wandb.Run, folder: Path, note: Callable[[str], None]) -> None:
        self._run = run
        self._folder = folder
        self._note = note
        self._is_broken = False
        self._when_logged: Callable[[], None] = lambda: None

    @property
    def file(self) -> Path:
        """The file of all its records."""
        return Path(self._run.settings.sync_file)

    def when_logged(self, act: Callable[[], None]) -> None:
        """Call `act` after each `log` and at the end, in the same thread."""
        self._when_logged = act

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._try(lambda: self._run.log(dict(values), step=step))
        self._when_logged()

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:  # without rows there are no columns
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

    def files(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        def act() -> None:
            import wandb

            num_bytes = sum(file.stat().st_size for path in paths for file in _files(path))
            _check_space(self._folder, num_bytes)
            # Staged beside the run, so that it can be sent later.
            with data_folder(Path(self._run.settings.sync_dir)):
                artifact = wandb.Artifact(name, kind)
                for path in paths:  # one by one: add_dir prints
                    for file in _files(path):
                        place = file.relative_to(path if path.is_dir() else path.parent)
                        artifact.add_file(str(file), name=place.as_posix())
                self._run.log_artifact(artifact)

        if paths:
            self._try(act)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._try(lambda: self._run.summary.update(dict(summary)))
        for handler in logging.getLogger("wandb").handlers:
            # On a full disk W&B's own log would print a traceback per line.
            handler.handleError = lambda record: None  # type: ignore[method-assign]
        # finish() waits for W&B's service without a limit; the trial does not.
        closing = threading.Thread(target=self._attempt, args=(self._run.finish,), daemon=True)
        closing.start()
        closing.join(FINISH_SECONDS)
        if closing.is_alive():
            seconds = f"{FINISH_SECONDS:g} s"
            self._warn(f"W&B did not finish within {seconds}; the local files are complete")
        self._when_logged()

    def _show(self, name: str, make: Callable[[], Any]) -> None:
        def act() -> None:
            with data_folder(Path(self._run.settings.sync_dir)):
                self._run.log({name: make()})

        self._try(act)

    def _try(self, act: Callable[[], object]) -> None:
        def act_with_space() -> None:
            _check_space(self._folder)
            act()

        if not self._is_broken:
            self._attempt(act_with_space)

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # after any W&B error, the run continues with the local files
            if not self._is_broken:
                self._is_broken = True
                self._warn(f"W&B logging stopped: {error}")

    def _warn(self, text: str) -> None:
        _warn(self._note, text)


def _warn(note: Callable[[str], None], text: str) -> None:
    log.warning("%s", text)
    note(text)


def _check_space(folder: Path, num_bytes: int = 0) -> None:
    free, least = free_bytes(folder), NEEDED_BYTES + num_bytes
    if free < least:
        needed = megabytes(least)
        raise OSError(f"the disk is full: {folder} needs {needed}, {megabytes(free)} are free")


def _files(path: Path) -> list[Path]:
    """Return the files of a folder, or the file."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in found if file.is_file()]


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def _table(rows: Sequence[Mapping[str, Any]], columns: list[str]) -> wandb.Table:
    import wandb

    cells = [[row.get(column) for column in columns] for row in rows]
    # A column of sampled values may have a number in one row and a string in the next.
    return wandb.Table(columns=columns, data=cells, allow_mixed_types=True)


def _stored_mode() -> str | None:
    """Return what `wandb offline` or `wandb disabled` stored; None if neither was run."""
    from wandb.sdk import wandb_setup

    mode = str(wandb_setup.singleton().settings.mode)
    return None if mode == "online" else mode


def _credentials() -> Any:
    """Return what W&B itself would log in with: an API key or a token; None if there is nothing.

    `wandb login` stores the key under the name of a host that only W&B knows.
    """
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    host = wandb_setup.singleton().settings.base_url
    return wbauth.authenticate_session(
        host=host, source="finesweep", prompt=False, update_session=False
    )


@cache
def _packages() -> tuple[Any, ...] | None:
    """Return the installed packages as W&B lists them in each run; None leaves that to W&B.

    Itself it would read the metadata of all of them again, for 0.1 s of a core in each trial. It
    does so if its settings ask for no list, or if its version lacks these private functions.
    """
    try:
        from wandb.sdk import wandb_setup
        from wandb.sdk.interface.interface import InterfaceBase
        from wandb.util import working_set

        is_wanted = wandb_setup.singleton().settings.x_save_requirements
    except (ImportError, AttributeError):
        return None
    can_publish = hasattr(InterfaceBase, "publish_python_packages")
    return tuple(working_set()) if is_wanted and can_publish else None


def _settings(folder: Path) -> wandb.Settings:
    """Return W&B's settings with the credentials, for a service with its files in `folder`.

    Raises:
        UploadError: There are none.

    """
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    credentials = _credentials()
    if credentials is None:
        raise UploadError("there is no API key, run `wandb login`")
    settings = wandb_setup.singleton().settings.model_copy()
    wbauth.set_auth_settings(settings, credentials)
    settings.root_dir = str(folder.absolute())
    return settings
