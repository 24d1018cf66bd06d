"""A random Llama in bf16 with a word tokenizer and a chat template, and rows of one length."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from gpu_parts.call import Call, Size, report

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END, START, UNKNOWN = "<|end|>", "<|start|>", "<unk>"
TEMPLATE = (
    "{% for m in messages %}<|start|> {{ m['role'] }} {{ m['content'] }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}<|start|> assistant {% endif %}"
)
NUM_WORDS = 500
# Both sides of a benchmark draw tokens from these: words, neither special tokens nor roles.
LOWEST_TOKEN, HIGHEST_TOKEN = 5, 400
NUM_MESSAGE_TOKENS = 6  # two each of <|start|>, the role, <|end|>


def write_model(call: Call) -> Path:
    """Write the model if it is not there yet; return its folder."""
    folder = call.work / f"model-{call.size_name}"
    if folder.exists():
        return folder
    began = time.monotonic()
    model = _network(call.size, call.device)
    # Renamed when complete: a part that is killed while it writes leaves no half of a model.
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished, max_shard_size="1GB")
    _tokenizer().save_pretrained(unfinished)
    unfinished.rename(folder)
    report(
        kind="model written",
        size=call.size_name,
        seconds=round(time.monotonic() - began, 1),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    return folder


def write_rows(call: Call) -> Path:
    """Write the rows if they are not there yet; return their file.

    Each is a question of random words and an answer of one word repeated: its exchange has
    `num_tokens` + 1 tokens, so its inputs have `num_tokens`.
    """
    path = call.work / f"rows-{call.size_name}.jsonl"
    if path.exists():
        return path
    chance = random.Random(0)
    num_question = call.size.num_tokens // 2
    num_answer = call.size.num_tokens + 1 - NUM_MESSAGE_TOKENS - num_question
    lines = []
    for _ in range(400 if call.on_cpu else 1200):
        question = " ".join(f"w{chance.randrange(NUM_WORDS)}" for _ in range(num_question))
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": " ".join(["w7"] * num_answer)},
        ]
        lines.append(json.dumps({"messages": messages}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def random_ids(num_rows: int, num_tokens: int, device: str = "cpu") -> torch.Tensor:
    """Return rows of random words as tokens."""
    return torch.randint(LOWEST_TOKEN, HIGHEST_TOKEN, (num_rows, num_tokens), device=device)


def _network(size: Size, device: str) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        num_key_value_heads=size.num_kv_heads,
        max_position_embeddings=8192,
        bos_token_id=1,
        eos_token_id=0,
        tie_word_embeddings=size.is_tied,
    )
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        try:
            model = LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(torch.float32)
    model.config.dtype = torch.bfloat16
    return model


def _tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [END, START, UNKNOWN, "user", "assistant", *(f"w{n}" for n in range(NUM_WORDS))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        unk_token=UNKNOWN,
        additional_special_tokens=[START],
    )
    fast.chat_template = TEMPLATE
    return fast
