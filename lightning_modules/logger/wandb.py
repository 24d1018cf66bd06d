"""Weights & Biases: one run an attempt, grouped by study.

Online where there is a key, else offline: `wandb leet` reads the files, `wandb sync` sends
them. A W&B that fails or hangs never harms the run; the local record is complete without it.
"""

from __future__ import annotations

import logging
import netrc
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from lightning_modules.logger.base import Identity, Logger, RunLog

if TYPE_CHECKING:
    import wandb

FINISH_SECONDS = 30.0

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

    def open(self, identity: Identity, config: Mapping[str, Any]) -> RunLog:
        import wandb

        identity.folder.mkdir(parents=True, exist_ok=True)
        try:
            run = wandb.init(
                project=self.project,
                entity=self.entity,
                name=identity.name,
                group=identity.group,
                job_type="trial" if identity.group else "run",
                dir=identity.folder,
                mode=self._settled_mode(),
                config=dict(config),
                # Never the process's one global run: a worker opens one an attempt.
                reinit="create_new",
                settings=wandb.Settings(
                    silent=True, console="off", init_timeout=FINISH_SECONDS, disable_code=True
                ),
            )
        except Exception as error:  # whatever W&B raises, training goes on with the local record
            log.warning("W&B is off for this run: %s", error)
            return RunLog()
        return WandbLog(run)

    def _settled_mode(self) -> Any:
        if self.mode is not Mode.auto:
            return self.mode.value
        chosen = os.environ.get("WANDB_MODE")
        return chosen or ("online" if _has_key() else "offline")


class WandbLog(RunLog):
    """A live W&B run."""

    def __init__(self, run: wandb.Run) -> None:
        self._run = run
        self._is_broken = False

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._try(lambda: self._run.log(dict(values), step=step))

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._try(lambda: self._run.summary.update(dict(summary)))
        # finish() waits for the network as long as it takes; the trial does not.
        closing = threading.Thread(target=self._try, args=(self._run.finish,), daemon=True)
        closing.start()
        closing.join(FINISH_SECONDS)
        if closing.is_alive():
            log.warning("W&B did not finish within %g s; the record is complete", FINISH_SECONDS)

    def _try(self, act: Callable[[], object]) -> None:
        if self._is_broken:
            return
        try:
            act()
        except Exception as error:  # whatever W&B raises, the run goes on with the local record
            self._is_broken = True
            log.warning("W&B is off from here on: %s", error)


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].strip("/")
    try:
        return netrc.netrc().authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
