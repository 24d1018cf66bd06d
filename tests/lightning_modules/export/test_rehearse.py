"""An export that could not be written is found before the training, and nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

from lightning_modules.error import ConfigError
from lightning_modules.export.rehearse import rehearse_export
from search.cli import main
from search.config import build_run, compose


@pytest.fixture
def folder(here: Path) -> Path:
    tiny: Any = build_run(compose("train", ["model=tiny", "model.kind=decoder"]).tree).model
    tiny.load_tokenizer().save_pretrained(here / "model")
    tiny.load_network("AutoModelForCausalLM").save_pretrained(here / "model")
    return here / "model"


@pytest.fixture
def words(folder: Path) -> list[str]:
    """Return the words for a model whose generation settings transformers refuses to write."""
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_return_sequences": 5}))
    Path("rows.jsonl").write_text("".join(f'{{"text": "good film {n}"}}\n' for n in range(40)))
    words = ["task=generation", "strategy=full", "logger=none", "model=hub", "trainer.epochs=1"]
    words += [f"model.path={folder}", "data=files", "data.train=rows.jsonl", "data.max_length=32"]
    return [*words, "data.batch_size=8"]


@pytest.mark.thorough
def test_a_model_that_is_refused_while_it_loads_leaves_nothing_behind(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "run=x", *words]) == 2
    assert "num_return_sequences" in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_nor_does_a_study(
    words: list[str], workers: int, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = ["sweep", "study=s", *words, "search.num_trials=2", f"search.workers={workers}"]
    sweep.append("search.certify=false")
    assert main(sweep) == 2
    printed = "".join(capfd.readouterr())
    assert "num_return_sequences" in printed and "Traceback" not in printed
    assert not Path("studies").exists()
    path = folder / "generation_config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "num_return_sequences": 1}))
    assert main([*sweep, "search.confirm=0"]) == 0
    path.write_text(json.dumps(values))
    assert main([*sweep, "search.confirm=0", "search.num_trials=3"]) == 2
    assert Path("studies", "s", "trials.csv").is_file()  # what was trained before stays


def test_a_configuration_that_cannot_be_written_is_found(folder: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = network.config.to_dict()
    rehearse_export(torch.nn.Sequential(network), tokenizer, "mine")
    assert network.config.to_dict() == before

    class Picky(GPT2Config):
        """As some classes of transformers, it lacks what writing it asks for."""

        def to_diff_dict(self) -> dict[str, Any]:
            return {"eos": self.no_such_token_id}

    network.config.__class__ = Picky
    with pytest.raises(ConfigError) as raised:
        rehearse_export(network, tokenizer, "mine")
    (problem,) = raised.value.problems
    assert str(problem).startswith("model: mine must be such that its export can be written, got ")
    assert "no_such_token_id" in str(problem)
