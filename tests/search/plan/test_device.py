"""A device that is not there is refused by every command, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from search.cli import main

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@needs_no_gpu
@pytest.mark.parametrize("command", [["train", "run=x"], ["sweep", "study=x"], ["plan"]])
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(
    command: list[str], device: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=tiny", "logger=none", f"trainer.device={device}"]
    assert main([*command, *words]) == 2
    assert capsys.readouterr().err == (
        "trainer.device: must be a device that this machine has, got "
        f"'{device}'. Set trainer.device=auto.\n"
    )
    assert not Path("runs").exists() and not Path("studies").exists()
