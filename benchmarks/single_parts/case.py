"""The runs that are measured: what is trained, on which rows, and with which class of transformers.

The decoder is a random Llama of 20 million parameters, as there is no pretrained one without a
network; a step does not depend on the weights. The encoder-decoder is a pair of two MiniLMs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from shared_parts.data import DATA

from lightning_modules.run import Run
from search.config import build_run, compose

NUM_VALIDATION = 64
DECODER = "decoder"
FEWEST_TEXTS = ("task.num_generated=1", "task.max_new_tokens=3")
"""The peer's validation writes no texts, and a summary is scored by at least one."""


@dataclass(frozen=True)
class Case:
    """One kind of run.

    Attributes:
        text: The folder of its rows.
        words: Its overrides.
        epochs: How often it sees its rows.

    """

    text: str
    words: tuple[str, ...]
    epochs: int = 1


CASES: Mapping[str, Case] = {
    "lora": Case("sst2", ("strategy=lora",)),
    "full": Case("sst2", ("strategy=full",)),
    "frozen": Case("sst2", ("strategy=feature_extraction",), epochs=3),
    "tagging": Case("wnut17", ("task=token_classification", "strategy=lora")),
    "seq2seq": Case("scitldr", ("task=summarization", "strategy=full", *FEWEST_TEXTS)),
    DECODER: Case(
        "gsm8k",
        (
            *("task=generation", "strategy=lora", "task.text=question", "task.label=answer"),
            "task.num_generated=0",
        ),
    ),
}


def make_run(name: str, num_rows: int, folder: Path, more: Sequence[str] = ()) -> Run:
    """Return a run on that many rows, which are written to the folder, with more overrides."""
    case = CASES[name]
    files = dict(_files(case.text, num_rows, folder))
    words = [
        *case.words,
        *(f"data.{split}={path}" for split, path in files.items()),
        "data=files",
        "data.batch_size=16",
        "data.on_leak=keep",
        f"trainer.epochs={case.epochs}",
        "trainer.validations_per_epoch=1",
        "trainer.checkpoint_seconds=1e6",
        "logger=none",
    ]
    if name == DECODER:
        words += ["model=hub", f"model.path={_decoder(folder)}"]
    return build_run(compose("train", [*words, *more]).tree)


def _files(text: str, num_rows: int, folder: Path) -> Iterator[tuple[str, Path]]:
    numbers = {"train": num_rows, "validation": NUM_VALIDATION, "test": NUM_VALIDATION}
    for split, number in numbers.items():
        source = DATA / text / f"{split}.jsonl"
        first = NUM_VALIDATION * (split == "test")  # where validation rows are the test's, too
        if not source.is_file():
            source = DATA / text / "test.jsonl"
        with source.open(encoding="utf-8") as lines:
            chosen = "".join(islice(lines, first, first + number))
        path = folder / f"{text}-{num_rows}-{split}.jsonl"
        path.write_text(chosen, encoding="utf-8")
        yield split, path


def _decoder(folder: Path) -> Path:
    """Write the decoder if it is not there; return its folder."""
    path = folder / DECODER
    if path.exists():
        return path
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    minilm = build_run(compose("train", ["model=minilm"]).tree).model.location()
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    tokenizer.eos_token = tokenizer.sep_token
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=6,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
