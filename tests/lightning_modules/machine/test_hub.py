"""What is asked of the hub, and how often."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.machine import hub
from lightning_modules.machine.hub import fetch_config
from search.config import compose


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Count the requests for an address; there is no network."""
    import huggingface_hub.constants

    hosts: list[Any] = []

    def refuse(host: Any, *_: Any, **__: Any) -> Any:
        hosts.append(host)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "AGAIN_SECONDS", 1e9)
    return hosts


def test_a_hub_that_cannot_be_reached_is_asked_once(asked: list[Any]) -> None:
    fetch_config("nobody/first")  # a process's first request asks more often
    asked.clear()
    fetch_config("nobody/alone")
    once = len(asked)
    assert once > 0
    fetch_config("nobody/alone")
    assert len(asked) == once
    words = ("model=hub", "model.path=nobody/arms", "strategy=choice(lora,full,qlora)")
    assert len(compose("sweep", words).arms) == 3
    assert len(asked) == 2 * once


def test_the_hub_is_not_asked_if_one_row_is_for_all_models(asked: list[Any]) -> None:
    words = ("model=hub", "model.path=nobody/heads", "strategy=feature_extraction")
    (arm,) = compose("sweep", words).arms
    assert arm.prior is not None and arm.prior.values["lr"] == 1e-2
    assert not asked
