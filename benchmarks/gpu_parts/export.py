"""An exported model loads in plain transformers and writes the same answers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_parts.call import Call, report, require
from gpu_parts.llama import write_model
from gpu_parts.training import make_run, train
from transformers import AutoModelForCausalLM, AutoTokenizer

from lightning_modules.export.model import Card, save_exported
from lightning_modules.export.predictor import load_trained

QUESTIONS = ("w1 w2 w3", "w9 w8")
CHATS = [[{"role": "user", "content": question}] for question in QUESTIONS]


def export(call: Call) -> None:
    """Export a trained run; compare its answers with those of plain transformers."""
    run = make_run(call, "trainer.max_steps=8")
    trained = train(call, run, "exported")
    predictor = load_trained(run, trained.folder, ())
    ours = [row["prediction"] for row in predictor.predict([{"text": chat} for chat in CHATS])]
    folder = call.work / "export"
    shutil.rmtree(folder, ignore_errors=True)
    exported = load_trained(run, trained.folder, (), for_export=True)
    save_exported(exported, run, Card("check", {}, {}), folder)
    model = AutoModelForCausalLM.from_pretrained(folder).to(call.device)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = plain_answers(model, tokenizer, CHATS, run.task.max_new_tokens)
    are_equal = [text.split() for text in ours] == [text.split() for text in plain]
    report(
        kind="export",
        equal=are_equal,
        ours=ours,
        plain=plain,
        dtype=model.dtype,
        chat_template=bool(tokenizer.chat_template),
        generation_config=(folder / "generation_config.json").exists(),
        bytes_against_source=round(weight_bytes(folder) / weight_bytes(write_model(call)), 2),
    )
    require(are_equal, "plain transformers must write the same answers")


def plain_answers(
    model: Any, tokenizer: Any, chats: Sequence[list[dict[str, str]]], max_new_tokens: int
) -> list[str]:
    """Return the model's greedy answers."""
    answers = []
    for chat in chats:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
        ids = inputs.input_ids
        written = model.generate(ids, max_new_tokens=max_new_tokens, do_sample=False)
        answers.append(tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True))
    return answers


def weight_bytes(folder: Path) -> int:
    """Return the size of a model's weights on disk."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
