from __future__ import annotations

from pathlib import Path

import torch

from lightning_modules.callback.best import (
    MAX_HELD_BYTES,
    Best,
    BestFiles,
    drop_best,
    load_best,
    load_observed,
    save_best,
)
from lightning_modules.hooks import Hooks


def best(number: float) -> Best:
    observed = {"logits_BC": torch.full((4, 2), number)}
    return Best({"head.weight": torch.full((2, 3), number)}, observed)


def assert_is(loaded: Best | None, number: float) -> None:
    assert loaded is not None
    assert torch.equal(loaded.weights["head.weight"], torch.full((2, 3), number))
    assert torch.equal(loaded.observed["logits_BC"], torch.full((4, 2), number))


def test_only_the_last_best_validation_is_kept(here: Path) -> None:
    assert load_best(here) is None
    save_best(here, best(1))
    save_best(here, best(2))
    assert_is(load_best(here), 2)
    assert torch.equal(load_observed(here)["logits_BC"], best(2).observed["logits_BC"])
    assert {path.name for path in here.iterdir()} == {"best.safetensors", "observed.safetensors"}


def test_drop_best_deletes_its_files(here: Path) -> None:
    drop_best(here)  # does nothing if there are none
    save_best(here, best(1))
    drop_best(here)
    assert load_best(here) is None
    assert not list(here.iterdir())


def test_observations_without_weights_are_ignored(here: Path) -> None:
    save_best(here, best(1))
    (here / "best.safetensors").unlink()
    assert load_best(here) is None


def test_small_tensors_are_written_when_they_are_needed(here: Path) -> None:
    files = BestFiles(here, Hooks())
    files.write()
    files.put(best(1))
    files.put(best(2))
    assert load_best(here) is None
    files.write()
    assert_is(load_best(here), 2)
    drop_best(here)
    files.write()  # nothing new
    assert load_best(here) is None


def test_large_tensors_are_written_at_once(here: Path) -> None:
    files = BestFiles(here, Hooks())
    large = {"head.weight": torch.zeros(MAX_HELD_BYTES // 4)}
    files.put(Best(large, {"logits_BC": torch.zeros(1, 2)}))
    loaded = load_best(here)
    assert loaded is not None and torch.equal(loaded.weights["head.weight"], large["head.weight"])
