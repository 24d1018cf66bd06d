"""Reward models: examples, scores, predictions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_modules.batch.collate import Collate
from lightning_modules.error import ConfigError
from lightning_modules.export.model import load_exported
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.task.base import Examples
from lightning_modules.task.reward import Reward
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import write_jsonl
from tests.lightning_modules.task.test_preference import BEGIN, END, ROWS, TOKENIZER


def reward(*words: str) -> Reward:
    words = tuple(f"task.{word}" for word in words)
    task = build_run(compose("train", ["task=reward", *words]).tree).task
    assert isinstance(task, Reward)
    return task


TASK = reward()


def network_of(kind: str) -> Any:
    sizes = {"vocab_size": len(TOKENIZER), "hidden_size": 32, "intermediate_size": 64}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_labels": 1}
    ids = {"pad_token_id": TOKENIZER.pad_token_id, "initializer_range": 0.2}
    config: Any = transformers.BertConfig if kind == "bert" else transformers.LlamaConfig
    torch.manual_seed(0)
    auto = transformers.AutoModelForSequenceClassification
    return auto.from_config(config(**sizes, **layers, **ids)).eval()


def batch_of(columns: dict[str, list[Any]]) -> dict[str, torch.Tensor]:
    places = range(len(columns["input_ids"]))
    return Collate(TOKENIZER)([{n: each[at] for n, each in columns.items()} for at in places])


def score_alone(network: Any, text: str) -> float:
    ids = torch.tensor([[BEGIN, *TOKENIZER(text)["input_ids"], END]])
    return float(network(ids, attention_mask=torch.ones_like(ids)).logits[0, 0])


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_scores_are_those_of_texts_alone(kind: str) -> None:
    network = network_of(kind)
    with torch.inference_mode():
        batch = batch_of(TASK.encode(ROWS, TOKENIZER, 64, ()))
        output = TASK.forward(network, batch)
        observed = TASK.observe(network, output, batch)
        for name in ("chosen", "rejected"):
            alone = [score_alone(network, f"{row['text']}\n{row[name]}") for row in ROWS]
            assert observed[f"reward_{name}_B"].tolist() == pytest.approx(alone, abs=1e-4)
            assert len(set(alone)) == 3
        rows = [{"text": row["text"], "chosen": row["chosen"]} for row in ROWS]
        single = batch_of(TASK.encode_unlabelled(rows, TOKENIZER, 64, ()))
        found = TASK.observe(network, TASK.forward(network, single), single)
    answers = TASK.decode(found, Examples(rows, (), TOKENIZER))
    expected = observed["reward_chosen_B"].tolist()
    assert [answer["prediction"] for answer in answers] == pytest.approx(expected, abs=1e-4)
    margins = observed["reward_chosen_B"] - observed["reward_rejected_B"]
    loss = float(torch.nn.functional.softplus(-margins).sum())
    assert float(TASK.loss_sum(output, batch)) == pytest.approx(loss, rel=1e-5)
    scores = TASK.score(observed, Examples(ROWS, (), TOKENIZER))
    assert set(scores) == set(TASK.directions)
    assert scores["loss"] == scores["log_loss"] == pytest.approx(loss / 3, abs=1e-5)


def test_a_whole_text_is_read_in_one_piece() -> None:
    row = {"chosen": "Two and two? It is 4.", "rejected": "Two and two? It is 5."}
    chosen = TASK.encode([row], TOKENIZER, 64, ())["input_ids"][0][::2]
    alone = TASK.encode_unlabelled([{"chosen": row["chosen"]}], TOKENIZER, 64, ())
    assert alone["input_ids"] == [chosen]
    assert chosen == [BEGIN, *TOKENIZER(row["chosen"])["input_ids"], END]


def test_a_long_text_loses_its_middle() -> None:
    (ids,) = TASK.encode_unlabelled([ROWS[0]], TOKENIZER, 5, ())["input_ids"]
    assert ids == [BEGIN, *TOKENIZER("T\n4")["input_ids"], END]


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"task\.template: must hold \{text\}"):
        reward("template=Question")
    with pytest.raises(ConfigError, match=r"task\.metric: must be one of reward_accuracy"):
        reward("metric=implicit_kl")


@pytest.mark.thorough
def test_a_reward_model_learns_and_its_export_scores_answers(here: Path) -> None:
    rows = [
        {"prompt": f"Item {n}?", "chosen": f"{n} is great.", "rejected": f"{n} is awful."}
        for n in range(60)
    ]
    write_jsonl(here / "pairs.jsonl", rows)
    fixed = ("task=reward", "model=tiny", "model.kind=decoder", "model.width=16", "logger=none")
    data = ("data=files", "data.train=pairs.jsonl", "data.test_fraction=0", "data.batch_size=8")
    brief = ("trainer.epochs=6", "trainer.validations_per_epoch=1", "optimizer.lr=1e-2")
    run = build_run(compose("train", [*fixed, *data, *brief, "strategy=full"]).tree)
    (here / "run").mkdir()
    outcome = fit(run, here / "run", Identity("x", None, here / "run"))
    assert outcome.best is not None and outcome.best.metrics["reward_accuracy"] == 1
    export(Trained(run, here / "run", "run x", outcome.best.metrics, ""), here / "best")
    answers = [{"text": "Item 7?", "chosen": f"7 is {word}."} for word in ("great", "awful")]
    good, bad = load_exported(here / "best", run.task).predict(answers)
    assert good["prediction"] > bad["prediction"]
    readme = (here / "best/README.md").read_text(encoding="utf-8")
    code = readme.split("```python\n")[1].split("```")[0]
    code = code.replace("Your question.", "Item 7?").replace("Its answer.", "7 is great.")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here / "best", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(good["prediction"], abs=1e-4)
