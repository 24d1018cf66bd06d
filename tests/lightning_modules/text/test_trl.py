"""The loss of conversations equals that of TRL's SFTTrainer with assistant_only_loss=True.

TRL reads the rows, makes its batch and computes its loss; we do the same with the same tokenizer
and the same small random network, of the architecture that the template belongs to. For a template
without marks of its own TRL takes a marked one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lightning_modules.batch.collate import Collate
from lightning_modules.batch.type import IGNORED
from lightning_modules.rows.embedded import REVIEWS
from lightning_modules.task.generation import Generation
from search.config import build_run, compose

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]  # TRL's own warnings

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}"
    "{{ m.content }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The end token under each template; but for the first they are TRL's copies of the models' own.
ENDS = {
    "chatml": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "qwen2_5_training": "<|im_end|>",
    "qwen3_instruct_2507": "<|im_end|>",
    "gemma3": "<end_of_turn>",
    "phi3": "<|endoftext|>",
}
ARCHITECTURES = {
    "qwen2_5_training": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
    "qwen3_instruct_2507": transformers.Qwen3Config,
    "gemma3": transformers.Gemma3TextConfig,
    "phi3": transformers.Phi3Config,
}
MARKS = ("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")
OTHERS = ("<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>")
SPECIAL = ("<|endoftext|>", "<bos>", *MARKS, *OTHERS)

TALKS = [
    [
        {"role": "user", "content": "Was it good?"},
        {"role": "assistant", "content": "Yes, a great film."},
        {"role": "user", "content": "And the end? 🙂"},
        {"role": "assistant", "content": "Dull, to be honest."},
    ],
    [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Worth seeing?"},
        {"role": "assistant", "content": "Never."},
    ],
]
ONE_ANSWER = [TALKS[0][:2], TALKS[1]]
CALL = {"type": "function", "function": {"name": "find_film", "arguments": {"year": 1999}}}
TOOLS = [{"type": "function", "function": {"name": "find_film", "description": "Find a film."}}]
WITH_TOOLS = [
    [
        {"role": "user", "content": "A film of 1999?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "name": "find_film", "content": "Magnolia"},
        {"role": "assistant", "content": "Magnolia, then."},
    ]
]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([REVIEWS.read_text(encoding="utf-8")], trainer)
    return tokenizer


@pytest.fixture
def no_reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WANDB_DISABLED", "true")
    return


def tokenizer_of(bpe: Tokenizer, name: str) -> Any:
    from trl import chat_template_utils

    end = ENDS.get(name, "<|im_end|>")
    own = getattr(chat_template_utils, f"{name}_chat_template", None)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<bos>", eos_token=end, pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHATML if name == "chatml" else own
    assert tokenizer.chat_template
    return tokenizer


def network_of(tokenizer: Any, name: str) -> Any:
    architecture = ARCHITECTURES.get(name, transformers.LlamaConfig)
    config = architecture(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def of_trl(network: Any, tokenizer: Any, rows: Sequence[dict[str, Any]], folder: Path) -> Any:
    """Return the batch and the loss of TRL's trainer."""
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        output_dir=str(folder),
        assistant_only_loss=True,
        max_length=512,
        per_device_train_batch_size=len(rows),
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    trainer = SFTTrainer(
        model=network,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    network.eval()
    with torch.inference_mode():
        return batch, trainer.compute_loss(network, dict(batch)).item()


def of_ours(network: Any, tokenizer: Any, rows: Sequence[dict[str, Any]]) -> Any:
    task = build_run(compose("train", ["task=generation"]).tree).task
    assert isinstance(task, Generation)
    columns = task.encode(rows, tokenizer, 512, ())
    assert columns["row"] == list(range(len(rows)))  # one example each
    examples = [
        dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)
    ]
    batch = Collate(tokenizer)(examples)
    with torch.inference_mode():
        output = task.forward(network, batch)
        return batch, (task.loss_sum(output, batch) / task.num_targets(batch)).item()


def check_equal(
    bpe: Tokenizer, name: str, talks: Sequence[Any], folder: Path, tools: Any = None
) -> None:
    tokenizer = tokenizer_of(bpe, name)
    network = network_of(tokenizer, name)
    theirs = [
        {"messages": talk} | ({"tools": json.dumps(tools)} if tools else {}) for talk in talks
    ]
    ours = [{"text": talk} | ({"text_pair": tools} if tools else {}) for talk in talks]
    their_batch, their_loss = of_trl(network, tokenizer, theirs, folder)
    batch, loss = of_ours(network, tokenizer, ours)
    wanted = sorted([t for t in row if t != IGNORED] for row in their_batch["labels"].tolist())
    assert sorted([t for t in row if t != IGNORED] for row in batch["labels"].tolist()) == wanted
    assert loss == pytest.approx(their_loss, abs=1e-5)


@pytest.mark.parametrize("name", sorted(ENDS))
def test_the_loss_of_a_batch_equals_that_of_trl(
    name: str, bpe: Tokenizer, here: Path, no_reports: None
) -> None:
    talks = [talk[1:] if talk[0]["role"] == "system" and name == "phi3" else talk for talk in TALKS]
    check_equal(bpe, name, talks, here)


def test_a_template_that_drops_earlier_thinking_is_equal_for_one_answer(
    bpe: Tokenizer, here: Path, no_reports: None
) -> None:
    check_equal(bpe, "qwen3", ONE_ANSWER, here)


@pytest.mark.parametrize("name", ["qwen2_5_training", "qwen3_instruct_2507"])
def test_tool_calls_and_tools_are_equal(
    name: str, bpe: Tokenizer, here: Path, no_reports: None
) -> None:
    check_equal(bpe, name, WITH_TOOLS, here, TOOLS)
