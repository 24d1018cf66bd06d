"""Download one file of the hub: its bytes are counted, and what it waits for is said."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning_modules.machine.hub.ask import asking_hub
from lightning_modules.machine.hub.wanted import HubError, Wanted

NUM_TRIES = 3
WAIT_SECONDS = 5.0  # the client does not repeat the download of a file after an error of the hub

OnBytes = Callable[[int], None]
Say = Callable[[str], None]


def download_patiently(
    wanted: Wanted, commit: str, path: str, on_bytes: OnBytes | None, say: Say
) -> None:
    """Download a file to the client's cache; try again after an error of the hub.

    Args:
        wanted: The model.
        commit: Its commit.
        path: The file.
        on_bytes: Is called with each number of bytes that have come.
        say: Is called with a line when it waits or tries again.

    Raises:
        HubError: The hub refuses it, or did not send it in several tries.

    """
    for more in reversed(range(NUM_TRIES)):
        try:
            with asking_hub(wanted), _saying(say):
                download(wanted.name, commit, path, on_bytes)
            return
        except HubError as error:
            if not more or not error.is_transient:
                raise
            say(f"{path}: {error.cause}; trying again")
            time.sleep(WAIT_SECONDS)


def download(name: str, commit: str, path: str, on_bytes: OnBytes | None = None) -> None:
    """Download a file to the client's cache; raises what the client raises."""
    from huggingface_hub import hf_hub_download
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    class Counter(tqdm):  # type: ignore[misc]
        """Shows nothing; hands on what came."""

        def __init__(self, *_: Any, **values: Any) -> None:
            super().__init__(total=values.get("total"), disable=True)

        def update(self, n: float | None = 1) -> None:
            if on_bytes is not None:
                on_bytes(int(n or 0))

    hf_hub_download(name, path, revision=commit, tqdm_class=Counter)


class _Handler(logging.Handler):
    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if found := re.search(r"Waiting ([\d.]+)s", text):
            self._say(f"the hub limits requests; waiting {float(found[1]):.0f} s")
        elif "Trying to resume" in text:
            self._say("the connection was cut; continuing where it stopped")


@contextmanager
def _saying(say: Say) -> Iterator[None]:
    """Pass on that the hub's client waits or continues, without the links in its lines."""
    logger, handler = logging.getLogger("huggingface_hub"), _Handler(say)
    level, others = logger.level, list(logger.handlers)
    for other in others:
        logger.removeHandler(other)
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        for other in others:
            logger.addHandler(other)
        logger.setLevel(level)
