"""Ask the hub within a few seconds; every failure is one line with its fix, and never a secret."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from lightning_modules.error import Problem
from lightning_modules.machine.hub.refusal import TIMEOUT, NoAnswer, meaning_of, no_network
from lightning_modules.machine.hub.wanted import HubError, Wanted

T = TypeVar("T")


def hub_seconds() -> float:
    """Return how long a short request may take."""
    text = os.environ.get(TIMEOUT, "")
    return float(text) if text.isdecimal() and int(text) else 3.0


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what `ask` returns; raise NoAnswer if that takes longer.

    The client's own timeouts bound neither the look-up of a name nor an answer that trickles. So it
    asks in a thread of its own, which is left alone after that time.
    """
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((True, ask()))
        except BaseException as error:  # raised again below
            answers.put((False, error))

    threading.Thread(target=run, name="asking the hub", daemon=True).start()
    try:
        succeeded, answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise NoAnswer(f"no answer within {seconds:g} s") from None
    if succeeded:
        found: T = answer
        return found
    raise answer


@contextmanager
def asking_hub(wanted: Wanted) -> Iterator[None]:
    """Turn what the hub's client raises into a HubError about what is wanted."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        httpx,  # the release of it that the hub client uses
        logging,
    )

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its lines come besides ours
    try:
        yield
    except (httpx.HTTPError, OSError, ValueError) as error:
        meant = meaning_of(error, wanted)
        if meant is None and isinstance(error, OSError):
            meant = no_network(wanted)
        if meant is None:
            raise
        if meant.is_no_revision:
            meant = HubError(_no_revision(wanted), meant.cause, is_no_revision=True)
        raise meant from None


def _no_revision(wanted: Wanted) -> Problem:
    """Return the problem of a revision that does not exist, with those that do."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    kind = "model" if wanted.kind == "model" else "dataset"
    try:
        refs = within(hub_seconds(), lambda: HfApi().list_repo_refs(wanted.name, repo_type=kind))
    except (httpx.HTTPError, OSError):  # the list is a help, not the message
        return wanted.no_revision(())
    return wanted.no_revision([ref.name for ref in (*refs.branches, *refs.tags)])
