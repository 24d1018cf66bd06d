"""Checkpoints keep the best validation's files as links, also after a better validation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightning_modules.callback.best import Best, load_best, save_best
from lightning_modules.callback.kept import drop_others, keep, restore
from lightning_modules.folder import BEST_FILE, OBSERVED_FILE


def best(number: float) -> Best:
    observed = {"logits_BC": torch.full((4, 2), number)}
    return Best({"head.weight": torch.full((200, 3), number)}, observed)


def test_a_better_validation_does_not_replace_what_a_checkpoint_keeps(here: Path) -> None:
    save_best(here, best(1))
    kept = keep(here, 40)
    assert kept.step == 40 and kept.problem(here) is None
    for name in (BEST_FILE, OBSERVED_FILE):
        assert (here / name).samefile(here / kept.file(name))
    save_best(here, best(2))
    assert kept.problem(here) is None
    restore(here, kept)
    loaded = load_best(here)
    assert loaded is not None
    assert torch.equal(loaded.weights["head.weight"], best(1).weights["head.weight"])
    assert torch.equal(loaded.observed["logits_BC"], best(1).observed["logits_BC"])
    assert (here / BEST_FILE).samefile(here / kept.file(BEST_FILE))
    restore(here, kept)  # the same file already
    assert kept.problem(here) is None and not list(here.glob(".*"))


@pytest.mark.parametrize("name", [BEST_FILE, OBSERVED_FILE])
def test_damaged_and_missing_files_are_noticed(here: Path, name: str) -> None:
    save_best(here, best(1))
    kept = keep(here, 40)
    path = here / kept.file(name)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)
    assert kept.problem(here) == f"the content of {path.name} does not match its sha256"
    path.unlink()
    assert kept.problem(here) == f"{path.name} is missing"


def test_only_the_files_of_the_given_checkpoints_stay(here: Path) -> None:
    kept = []
    for step in (10, 20, 30):
        save_best(here, best(step))
        kept.append(keep(here, step))
    drop_others(here, (kept[1], None))
    names = {path.name for path in here.iterdir()}
    assert names == {
        *(BEST_FILE, OBSERVED_FILE),
        *("checkpoint.best-20.safetensors", "checkpoint.observed-20.safetensors"),
    }
