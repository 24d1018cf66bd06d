from __future__ import annotations

from pathlib import Path

import torch

from lightning_modules.callback.best import Best, drop_best, load_best, load_observed, save_best


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
