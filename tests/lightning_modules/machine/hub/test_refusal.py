"""Each failure of the hub is one line with its fix; what the advice says was tried.

The real client asks a hub on this machine (`tests/loopback.py`).
"""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from lightning_modules.error import ConfigError
from lightning_modules.machine.hub import ask as asking
from lightning_modules.machine.hub.ask import asking_hub
from lightning_modules.machine.hub.snapshot import find_snapshot, forget_answers
from lightning_modules.machine.hub.wanted import Wanted
from search.config import compose
from tests.loopback import Hub

FILES = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"0" * 100_000,
}
TOKEN = "hf_thesecret"
RULE = "model.path: must be a local folder or a model on the hub"


def wanted(name: str = "owner/name", revision: str | None = None) -> Wanted:
    return Wanted("model.path", "model", name, revision, "give a folder, or set model=minilm")


def line_of(name: str = "owner/name", revision: str | None = None) -> str:
    """Return the line that a model's check ends with."""
    with pytest.raises(ConfigError) as caught:
        find_snapshot(wanted(name, revision)).fetch(weights=True)
    (problem,) = caught.value.problems
    assert TOKEN not in str(problem) and "secret-of-the-link" not in str(problem)
    return str(problem)


def test_a_name_that_the_hub_does_not_have(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert line_of("owner/nmae") == (
        f"{RULE}, got 'owner/nmae' (the hub has none that you may read, 401). Check the name; if "
        f"it is private, set HF_TOKEN (make one on {hub.url}/settings/tokens), or run "
        "hf auth login."
    )
    forget_answers()
    hub.tokens.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert line_of("owner/nmae") == (
        f"{RULE}, got 'owner/nmae' (the hub has none that you may read, 404). "
        "Check the name, and that your token may read it."
    )


def test_a_private_model_needs_the_token_of_a_member(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.add("owner/name", FILES)
    repo.private = True
    assert "if it is private, set HF_TOKEN" in line_of()
    forget_answers()
    hub.tokens.add(TOKEN)
    repo.members.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find_snapshot(wanted()).fetch(weights=True).is_dir()


def test_a_gated_model_says_whose_terms_to_accept_and_where(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.add("owner/name", FILES)
    repo.gated = True
    page = f"{hub.url}/owner/name"
    assert line_of() == (
        f"{RULE}, got 'owner/name' (its terms must be accepted first, 401). Accept its terms on "
        f"{page}, and set HF_TOKEN (make one on {hub.url}/settings/tokens), or run hf auth login."
    )
    forget_answers()
    hub.tokens.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert line_of() == (
        f"{RULE}, got 'owner/name' (its terms must be accepted first, 403). "
        f"Accept its terms on {page} with the account of your token."
    )
    forget_answers()
    repo.members.add(TOKEN)  # the terms are accepted
    assert find_snapshot(wanted()).fetch(weights=True).is_dir()


def test_the_token_that_hf_auth_login_stores_is_used(hub: Hub) -> None:
    repo = hub.add("owner/name", FILES)
    repo.gated = True
    repo.members.add(TOKEN)
    hub.tokens.add(TOKEN)
    Path(huggingface_hub.constants.HF_TOKEN_PATH).write_text(TOKEN)
    assert find_snapshot(wanted()).fetch(weights=True).is_dir()


def test_a_token_that_is_no_longer_valid(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("owner/name", FILES)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert line_of() == (
        "HF_TOKEN: must be a valid token of the hub, got one that it refuses (401). Make another "
        f"on {hub.url}/settings/tokens, or remove it: unset HF_TOKEN, or run hf auth logout."
    )
    forget_answers()
    monkeypatch.delenv("HF_TOKEN")
    assert find_snapshot(wanted()).fetch(weights=True).is_dir()


def test_a_token_goes_to_the_hub_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("owner/name", FILES)
    hub.tokens.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    find_snapshot(wanted()).fetch(weights=True)
    elsewhere = [request for request in hub.requests if request.host == "localhost"]
    assert elsewhere and not any(request.token for request in elsewhere)
    assert {r.token for r in hub.requests if r.host == "127.0.0.1"} == {TOKEN}


def test_a_revision_that_does_not_exist_lists_those_that_do(hub: Hub) -> None:
    repo = hub.add("owner/name", FILES)
    repo.commit({**FILES, "README.md": b""}, "v1.0", "next")
    assert line_of(revision="v2.0") == (
        "model.revision: must be a branch, a tag or a commit of owner/name, got 'v2.0'. "
        "Use one of: main, next, v1.0; or the hash of a commit."
    )
    for revision in ("main", "next", "v1.0", repo.refs["v1.0"]):
        assert find_snapshot(wanted(revision=revision)).fetch(weights=True).is_dir()


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (403, {}, "(you may not read it, 403). See {url}/owner/name, and give your token read"),
        (429, {"Retry-After": "30"}, "(the hub limits requests, 429). Try again in 30 s. For more"),
        (429, {}, "(the hub limits requests, 429). Try again in some minutes. For more"),
        (500, {}, "(the hub has an error, 500). Try again later."),
        (503, {}, "(the hub has an error, 503). Try again later."),
        (418, {}, "(the hub answers 418). See {url}/owner/name."),
    ],
)
def test_a_hub_that_refuses(hub: Hub, status: int, headers: dict[str, str], text: str) -> None:
    hub.add("owner/name", FILES)
    hub.fail("*", status=status, headers=headers)
    assert line_of().startswith(f"{RULE}, got 'owner/name' {text.format(url=hub.url)}")


def test_one_error_of_the_hub_is_no_failure(hub: Hub) -> None:
    hub.add("owner/name", FILES)
    hub.fail("GET /api/models/*", status=502, times=1)
    assert find_snapshot(wanted()).fetch(weights=True).is_dir()


def test_a_hub_that_does_not_answer_costs_a_few_seconds(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("owner/name", FILES)
    hub.fail("*", seconds=60)
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1")
    assert asking.hub_seconds() == 1
    assert line_of() == (
        f"{RULE}, got 'owner/name' ({hub.url} does not answer, and not in the cache). "
        "Try again, or wait longer: HF_HUB_ETAG_TIMEOUT=30 (seconds)."
    )
    hub.requests.clear()
    assert line_of().endswith("(seconds).")  # the process does not ask again so soon
    assert not hub.requests


def test_an_answer_that_trickles_is_bounded_too() -> None:
    with pytest.raises(asking.NoAnswer):
        asking.within(0.05, lambda: time.sleep(30))


def test_a_hub_that_cannot_be_reached_is_asked_once_for_all_arms(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(host: Any, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror("no names here")

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://hub.example")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    words = ("model=hub", "model.path=nobody/arms", "strategy=choice(lora,full,qlora)")
    assert len(compose("sweep", words).arms) == 3
    assert len(asked) == 1
    assert line_of("nobody/arms") == (
        f"{RULE}, got 'nobody/arms' (no network, and not in the cache). "
        "Connect to the network, give a folder, or set model=minilm."
    )
    assert len(asked) == 1


def test_the_hub_is_not_asked_if_one_row_is_for_all_models(hub: Hub) -> None:
    words = ("model=hub", "model.path=nobody/heads", "strategy=feature_extraction")
    (arm,) = compose("sweep", words).arms
    assert arm.prior is not None and arm.prior.values["lr"] == 1e-2
    assert not hub.requests


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_cache_that_cannot_be_written(hub: Hub, number: int) -> None:
    with pytest.raises(ConfigError) as caught, asking_hub(wanted()):
        raise OSError(number, "what the system says")
    assert str(caught.value).endswith(
        f": {huggingface_hub.constants.HF_HUB_CACHE}). "
        "Free space there, or set HF_HOME to another folder."
    )


def test_a_name_that_cannot_be_one(hub: Hub) -> None:
    assert line_of("one/two/three") == f"{RULE}, got 'one/two/three'. Write it as owner/name."
    assert not hub.requests


def test_an_error_that_is_not_the_hubs_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="ours"), asking_hub(wanted()):
        raise ValueError("ours")
