from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from search.machine import gpu
from search.machine.gpu import AMD, NVIDIA, Gpu, environment_of, gpus

TWO_CARDS = """\
GPU 0: NVIDIA H200 (UUID: GPU-aaaa1111)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb2222)
"""
WITH_MIG = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa1111)
  MIG 1g.5gb      Device  0: (UUID: MIG-cccc3333)
  MIG 3g.20gb     Device  1: (UUID: MIG-dddd4444)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb2222)
"""


@pytest.fixture
def listing(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes a command `nvidia-smi -L` print a text."""
    for name in (NVIDIA, AMD):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpu, "AMD_NODES", here / "nodes")
    monkeypatch.setenv("PATH", f"{here / 'bin'}:{os.environ['PATH']}")

    def prints(text: str) -> None:
        command = here / "bin" / "nvidia-smi"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n[ \"$1\" = -L ] || exit 1\ncat <<'END'\n{text}END\n")
        command.chmod(0o755)

    return prints


def names() -> list[str]:
    return [each.name for each in gpus()]


def cards() -> list[str]:
    return [each.card for each in gpus()]


def test_cards_are_named_by_their_identifiers(listing: Callable[[str], None]) -> None:
    listing(TWO_CARDS)
    assert names() == cards() == ["GPU-aaaa1111", "GPU-bbbb2222"]
    assert environment_of(gpus()) == {NVIDIA: "GPU-aaaa1111,GPU-bbbb2222"}


def test_mig_instances_take_the_place_of_their_card(listing: Callable[[str], None]) -> None:
    listing(WITH_MIG)
    assert names() == ["MIG-cccc3333", "MIG-dddd4444", "GPU-bbbb2222"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("1", [("1", "GPU-bbbb2222")]),
        ("GPU-bbbb, 0", [("GPU-bbbb", "GPU-bbbb2222"), ("0", "GPU-aaaa1111")]),
        ("7", [("7", "7")]),
        ("", []),
        ("-1", []),
    ],
)
def test_only_those_that_the_environment_allows_are_used(
    listing: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    visible: str,
    expected: list[tuple[str, str]],
) -> None:
    listing(TWO_CARDS)
    monkeypatch.setenv(NVIDIA, visible)
    assert gpus() == [Gpu(NVIDIA, name, card) for name, card in expected]


def test_without_a_list_the_environment_is_believed(
    listing: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NVIDIA, "0,1")
    assert cards() == ["0", "1"]


def test_a_machine_without_gpus_has_none(listing: Callable[[str], None]) -> None:
    assert gpus() == []
    assert environment_of([]) == {}


def test_gpus_of_amd_are_the_nodes_that_are_no_processors(
    listing: Callable[[str], None], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (gpu_id, unique) in enumerate([(0, 0), (51234, 77), (51235, 88)]):
        node = here / "nodes" / str(number)
        node.mkdir(parents=True)
        (node / "gpu_id").write_text(f"{gpu_id}\n")
        (node / "properties").write_text(f"simd_count 4\nunique_id {unique}\n")
    assert gpus() == [Gpu(AMD, "0", "AMD-77"), Gpu(AMD, "1", "AMD-88")]
    monkeypatch.setenv(AMD, "1")
    assert gpus() == [Gpu(AMD, "1", "AMD-88")]
