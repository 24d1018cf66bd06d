"""What an answer of the hub, or its absence, means.

The status and the `X-Error-Code` of an answer tell what is wrong. Texts of the hub or of its client
are not repeated, because they may contain links that are signed.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from lightning_modules.error import Problem, Verbatim
from lightning_modules.machine.hub.wanted import HubError, Wanted, endpoint

TIMEOUT = "HF_HUB_ETAG_TIMEOUT"
"""The variable of the hub's client for the seconds that a short request may take."""


class NoAnswer(OSError):
    """The hub did not answer in time."""


def meaning_of(error: BaseException, wanted: Wanted) -> HubError | None:
    """Return what an error means that the hub or its client caused; None if none of them did."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:  # others wrap what the client raises
        seen.add(id(cause))
        if isinstance(cause, HFValidationError):
            fix = "Write it as owner/name."
            return HubError(Problem(wanted.key, wanted.rule, wanted.name, fix), "no such name")
        # `datasets` looks for files that need not exist, and continues in the handler.
        is_answer = isinstance(cause, HfHubHTTPError)
        if is_answer and (cause is error or not isinstance(cause, EntryNotFoundError)):
            return _refused(cause, wanted)
        found = None if is_answer else _unreached(cause, wanted)
        if found is not None:
            return found
        cause = cause.__cause__ or cause.__context__
    return None


def no_network(wanted: Wanted) -> HubError:
    """Return the error if nothing can be reached."""
    fix = f"Connect to the network, {wanted.instead}."
    return _error(wanted, "no network", fix, is_cached=False)


def _unreached(error: BaseException, wanted: Wanted) -> HubError | None:
    """Return what an error means that is not an answer of the hub; None if it says nothing."""
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    if isinstance(error, OfflineModeIsEnabled):
        fix = f"Unset HF_HUB_OFFLINE, {wanted.instead}."
        return _error(wanted, "HF_HUB_OFFLINE=1", fix, is_cached=False)
    if isinstance(error, NoAnswer | httpx.TimeoutException):
        fix = f"Try again, or wait longer: {TIMEOUT}=30 (seconds)."
        return _error(wanted, f"{endpoint()} does not answer", fix, is_cached=False)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
        fix = "Free space there, or set HF_HOME to another folder."
        return _error(wanted, f"{os.strerror(error.errno)}: {constants.HF_HUB_CACHE}", fix)
    is_cut = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError)
    if is_cut or "Consistency check failed" in str(error):
        fix = "Try again: files that are complete stay."
        return _error(wanted, "the connection was cut", fix)
    return no_network(wanted) if isinstance(error, httpx.HTTPError) else None


def _refused(error: Any, wanted: Wanted) -> HubError:
    """Return what an answer with an error status means."""
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    status, headers = error.response.status_code, error.response.headers
    if isinstance(error, RevisionNotFoundError):
        return HubError(wanted.no_revision(()), "no such revision", is_no_revision=True)
    if "Invalid credentials" in headers.get("X-Error-Message", ""):
        rule, got = "must be a valid token of the hub", f"one that it refuses ({status})"
        fix = f"Make another on {_tokens()}, or remove it: unset HF_TOKEN, or run hf auth logout."
        return HubError(Problem("HF_TOKEN", rule, Verbatim(got), fix), "it refuses HF_TOKEN")
    if isinstance(error, GatedRepoError):
        how = " with the account of your token" if _has_token() else f", and {_login()}"
        fix = f"Accept its terms on {wanted.page}{how}."
        return _error(wanted, f"its terms must be accepted first, {status}", fix)
    if status >= 500:
        cause = f"the hub has an error, {status}"
        return _error(wanted, cause, "Try again later.", is_transient=True)
    return _error(wanted, *_cause_and_fix(status, headers, wanted))


def _cause_and_fix(status: int, headers: Any, wanted: Wanted) -> tuple[str, str]:
    if status in (401, 404):
        fix = f"Check the name; if it is private, {_login()}."
        if _has_token():
            fix = "Check the name, and that your token may read it."
        return f"the hub has none that you may read, {status}", fix
    if status == 403:
        fix = f"See {wanted.page}, and give your token read access on {_tokens()}."
        return "you may not read it, 403", fix
    if status == 429:
        more = "" if _has_token() else f" For more requests, {_login()}."
        fix = f"Try again in {_seconds_to_wait(headers)}.{more}"
        return "the hub limits requests, 429", fix
    return f"the hub answers {status}", f"See {wanted.page}."


def _error(
    wanted: Wanted, cause: str, fix: str, *, is_cached: bool = True, **how: bool
) -> HubError:
    got = cause if is_cached else f"{cause}, and not in the cache"
    return HubError(wanted.problem(got, fix), cause, **how)


def _login() -> str:
    return f"set HF_TOKEN (make one on {_tokens()}), or run hf auth login"


def _tokens() -> str:
    return f"{endpoint()}/settings/tokens"


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _seconds_to_wait(headers: Any) -> str:
    text = str(headers.get("Retry-After", ""))
    return f"{text} s" if text.isdecimal() else "some minutes"
