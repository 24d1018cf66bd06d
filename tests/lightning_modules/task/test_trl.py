"""Losses and metrics of preferences are TRL's on the same batch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from lightning_modules.batch.type import IGNORED
from lightning_modules.task.base import Examples
from lightning_modules.task.preference import Preference
from lightning_modules.text.pair import halves
from tests.lightning_modules.task.test_preference import (
    ROWS,
    TOKENIZER,
    adapted_network,
    batch_of,
    plain_network,
    preference,
)

trl = pytest.importorskip("trl")
from datasets import Dataset  # noqa: E402 - only where TRL is installed

SAME = {"atol": 1e-5, "rtol": 1e-5}
QUIET: dict[str, Any] = {
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "per_device_train_batch_size": 3,
    "disable_tqdm": True,
}
ANY = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 3)

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]


def our_loss(task: Preference, network: Any) -> tuple[torch.Tensor, dict[str, float]]:
    batch = task.with_totals(batch_of(task, ROWS))
    output = task.forward(network, batch)
    loss = task.loss_sum(output, batch) / task.num_targets(batch)
    observed = task.observe(network, output, batch)
    return loss, task.score(observed, Examples(ROWS, (), TOKENIZER))


def gradients_of(network: Any) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in network.named_parameters() if p.grad is not None}


def assert_same_gradients(first: Any, second: Any) -> None:
    ours, theirs = gradients_of(first), gradients_of(second)
    assert ours and ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], **SAME, msg=name)


def texts(task: Preference) -> list[dict[str, dict[str, list[int]]]]:
    """Return each row's texts as TRL has them: all tokens, and which are the answer's."""
    batch, found = batch_of(task, ROWS), []
    sides = {name: halves(batch[name]).chunk(2) for name in ("input_ids", "labels")}
    for row in range(len(ROWS)):
        both = {}
        for side, name in enumerate(("chosen", "rejected")):
            ids, labels = (sides[column][side][row].tolist() for column in ("input_ids", "labels"))
            targets = [label for label in labels if label != IGNORED]
            start = next(at for at, label in enumerate(labels) if label != IGNORED) + 1
            prompt = ids[:start]
            both[name] = {"prompt": prompt, "answer": targets}
        found.append(both)
    return found


def dpo_trainer(network: Any, here: Path, loss: str, beta: float) -> Any:
    names = {"dpo": "sigmoid"}
    settings = trl.DPOConfig(
        str(here), loss_type=[names.get(loss, loss)], beta=beta, max_length=None, **QUIET
    )
    # A new adapter: of a network that has one already, TRL would make the reference.
    trainer = trl.DPOTrainer(
        plain_network(),
        args=settings,
        train_dataset=ANY,
        processing_class=TOKENIZER,
        peft_config=LoraConfig(r=2, task_type="CAUSAL_LM"),
    )
    trainer.model.load_state_dict(network.state_dict())
    return trainer


@pytest.mark.parametrize("beta", [0.1, 0.5])
@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_a_loss_with_a_reference(loss: str, beta: float, here: Path) -> None:
    task = preference(f"loss={loss}", f"beta={beta}")
    ours = adapted_network()
    trainer = dpo_trainer(ours, here, loss, beta)
    found, scores = our_loss(task, ours)
    rows = [
        {
            "prompt_ids": both["chosen"]["prompt"],
            "chosen_ids": both["chosen"]["answer"],
            "rejected_ids": both["rejected"]["answer"],
        }
        for both in texts(task)
    ]
    expected = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    torch.testing.assert_close(found, expected, **SAME)
    mode = "train" if trainer.model.training else "eval"
    metrics = {name: values[-1] for name, values in trainer._metrics[mode].items()}
    assert scores["reward_accuracy"] == pytest.approx(metrics["rewards/accuracies"], abs=1e-5)
    for ours_name, theirs_name in (
        ("reward_margin", "rewards/margins"),
        ("reward_chosen", "rewards/chosen"),
        ("reward_rejected", "rewards/rejected"),
    ):
        assert scores[ours_name] == pytest.approx(metrics[theirs_name], abs=1e-5)
    found.backward()
    expected.backward()
    assert_same_gradients(ours, trainer.model)


@pytest.mark.parametrize("loss", ["orpo", "simpo"])
def test_a_loss_without_a_reference(loss: str, here: Path) -> None:
    beta = {"orpo": 0.3, "simpo": 2.0}[loss]
    task = preference(f"loss={loss}", f"beta={beta}", "simpo_gamma=0.7")
    ours, theirs = adapted_network(), copy.deepcopy(adapted_network())
    found, scores = our_loss(task, ours)
    if loss == "orpo":
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        settings, maker = ORPOConfig(str(here), beta=beta, **QUIET), ORPOTrainer
    else:
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        special = {"loss_type": "simpo", "simpo_gamma": 0.7, "cpo_alpha": 0.0}
        settings, maker = CPOConfig(str(here), beta=beta, **special, **QUIET), CPOTrainer
    trainer = maker(theirs, args=settings, train_dataset=ANY, processing_class=TOKENIZER)
    rows = []
    for both in texts(task):
        row = {}
        for name, text in both.items():
            ids = [*text["prompt"], *text["answer"]]
            masked = [IGNORED] * len(text["prompt"]) + text["answer"]
            row |= {f"{name}_input_ids": ids, f"{name}_labels": masked}
            row[f"{name}_attention_mask"] = [1] * len(ids)
        rows.append(row)
    batch = trainer.data_collator(rows)
    expected, metrics = trainer.get_batch_loss_metrics(trainer.model, batch, "train")
    torch.testing.assert_close(found, expected, **SAME)
    assert scores["reward_margin"] == pytest.approx(float(metrics["rewards/margins"]), abs=1e-5)
    assert scores["loss"] == pytest.approx(float(expected), abs=1e-5)
    found.backward()
    expected.backward()
    assert_same_gradients(ours, trainer.model)
