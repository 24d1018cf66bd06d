"""Ten architectures as a whole: the loss, packing, resuming, where texts end, and the export.

Six decoders, two encoders, T5 and BART, small and random, in the files that the hub has. Each
learns a few answers by heart, so that a text ends by itself if it ends where it was trained to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_modules.batch.collate import Collate
from lightning_modules.batch.type import IGNORED
from lightning_modules.cache import Cache
from lightning_modules.callback.best import load_best
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.network import build_network
from lightning_modules.outcome import Ending
from lightning_modules.run import Run
from lightning_modules.task.classification import Classification
from lightning_modules.task.generation import Generation
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import write_jsonl
from tests.cut import StopAt
from tests.lightning_modules.model import test_decoder, test_hub, test_hub_writing

SIZES = test_decoder.SIZES
DECODERS: dict[str, Callable[[dict[str, int]], transformers.PreTrainedConfig]] = {
    "gpt2": lambda ids: test_decoder.config_of("gpt2", ids),
    "llama": lambda ids: transformers.LlamaConfig(**SIZES, **ids),
    "mistral": lambda ids: transformers.MistralConfig(**SIZES, **ids, sliding_window=8),
    "phi3": lambda ids: transformers.Phi3Config(**SIZES, **{"pad_token_id": 0, **ids}),
    "qwen3": lambda ids: transformers.Qwen3Config(**SIZES, **ids),
    "gemma3": lambda ids: transformers.Gemma3TextConfig(
        **SIZES, **ids, sliding_window=8, layer_types=None
    ),
}
# The tokenizer's special tokens, and where its start token comes from, as on the hub.
TOKENIZERS = {"gpt2": "gpt2", "qwen3": "qwen3", "gemma3": "gemma"}
ENCODERS = {"bert": test_hub.write_bert, "modernbert": test_hub.write_modernbert}
WRITERS = {"t5": test_hub_writing.write_t5, "bart": test_hub_writing.write_bart}
NAMES = (*DECODERS, *ENCODERS, *WRITERS)
NUM_STEPS = 120
LABELS = ("negative", "positive")
ROWS = [
    {
        "document": "was it good?",
        "summary": "very good",
        "text": "a great film",
        "label": "positive",
    },
    {"document": "who was in it?", "summary": "nobody", "text": "dull", "label": "negative"},
    {"document": "and the end?", "summary": "a bad one", "text": "a bad film", "label": "negative"},
    {"document": "see it again?", "summary": "no", "text": "good to see", "label": "positive"},
]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    rows = tmp_path_factory.mktemp("rows")
    train = write_jsonl(rows / "train.jsonl", ROWS * NUM_STEPS)
    validation = write_jsonl(rows / "validation.jsonl", ROWS)

    @cache
    def folder_of(name: str) -> Path:
        folder, auto = tmp_path_factory.mktemp(name), transformers.AutoModelForMaskedLM
        if name in DECODERS:
            ids = test_decoder.write_tokenizer(TOKENIZERS.get(name, "llama"), folder)
            config, auto = DECODERS[name](ids), transformers.AutoModelForCausalLM
        elif name in WRITERS:
            config, auto = WRITERS[name](folder), transformers.AutoModelForSeq2SeqLM
        else:
            config = ENCODERS[name](folder)
        # Else all tokens are about as likely, and more steps are needed.
        config.initializer_range = config.init_std = 0.1 if name in WRITERS else 0.2
        # With dropout, whether four rows are learnt by heart in so few steps is luck.
        for setting, value in config.to_dict().items():
            if "drop" in setting and isinstance(value, float):
                setattr(config, setting, 0.0)
        torch.manual_seed(0)
        auto.from_config(config).save_pretrained(folder)
        return folder

    def make(name: str, *words: str) -> Run:
        task = ["task=classification"]
        if name in DECODERS:
            columns = ("task.text=document", "task.label=summary")
            task = ["task=generation", "task.num_generated=4", *columns]
        elif name in WRITERS:
            task = ["task=summarization", "task.num_beams=1", "task.prefix=''"]
        if name not in ENCODERS:
            task += ["task.max_new_tokens=16"]
        model = ("model=hub", f"model.path={folder_of(name)}", "logger=none")
        data = ("data=files", f"data.train={train}", f"data.validation={validation}")
        data += (f"data.test={validation}", "data.on_leak=keep")
        size = ("data.batch_size=4", "data.max_length=32", "trainer.precision=fp32")
        length = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "schedule=constant")
        fixed = (*model, *data, *size, *length, "strategy=full", "strategy.lr=3e-3")
        return build_run(compose("train", [*fixed, *task, *words]).tree)

    return make


def batch_of(columns: dict[str, Any], tokenizer: Any) -> dict[str, torch.Tensor]:
    cells = zip(*columns.values(), strict=True)
    return Collate(tokenizer)([dict(zip(columns, each, strict=True)) for each in cells])


def rows_of(run: Run) -> list[dict[str, Any]]:
    """Return the rows with the columns of the task."""
    task = run.task
    if isinstance(task, Classification):
        return ROWS
    is_one = isinstance(task, Generation)
    rows = [(row["document"], row["summary"]) for row in ROWS]
    return [{"text": text, "label": label if is_one else [label]} for text, label in rows]


def network_of(run: Run) -> Any:
    """Return the network; without dropout."""
    return build_network(run, LABELS, Cache()).eval()


def asked(text: str, tokenizer: Any) -> list[int]:
    """Return the tokens of a prompt: all start with a start token, GPT-2's and Qwen3's too."""
    ids: list[int] = tokenizer(text)["input_ids"]
    start = tokenizer.bos_token_id
    start = tokenizer.eos_token_id if start is None else start
    return ids if ids[0] == start else [start, *ids]


def our_loss(run: Run, network: Any, columns: dict[str, Any], tokenizer: Any) -> torch.Tensor:
    batch = batch_of(columns, tokenizer)
    output = run.task.forward(network, batch)
    loss: torch.Tensor = run.task.loss_sum(output, batch) / run.task.num_targets(batch)
    return loss


def plain_loss(name: str, network: Any, tokenizer: Any) -> torch.Tensor:
    """Return transformers' own loss, of one row after the other."""
    losses, num_targets = [], []
    for row in ROWS:
        if name in ENCODERS:
            given = dict(tokenizer(row["text"], return_tensors="pt"))
            labels = torch.tensor([LABELS.index(row["label"])])
        elif name in WRITERS:
            given = dict(tokenizer(row["document"], return_tensors="pt"))
            labels = tokenizer(text_target=row["summary"], return_tensors="pt")["input_ids"]
        else:
            question = asked(f"{row['document']}\n", tokenizer)
            whole = asked(f"{row['document']}\n{row['summary']}", tokenizer)
            ids = torch.tensor([[*whole, tokenizer.eos_token_id]])
            given, labels = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, ids.clone()
            labels[:, : len(question)] = IGNORED
        given.pop("token_type_ids", None)
        losses.append(network(**given, labels=labels).loss)
        num_targets.append((labels != IGNORED).sum())
    weights = torch.stack(num_targets)
    return (torch.stack(losses) * weights).sum() / weights.sum()


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_and_its_gradients_are_those_of_transformers(
    name: str, run_of: Callable[..., Run]
) -> None:
    run = run_of(name)
    network, tokenizer = network_of(run), run.model.load_tokenizer()
    columns = run.task.encode(rows_of(run), tokenizer, 32, LABELS)
    ours = our_loss(run, network, columns, tokenizer)
    theirs = plain_loss(name, network, tokenizer)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    trained = [each for each in network.parameters() if each.requires_grad]
    gradients = [torch.autograd.grad(loss, trained, allow_unused=True) for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", DECODERS)
def test_packed_rows_have_the_loss_and_gradients_of_rows_alone(
    name: str, run_of: Callable[..., Run]
) -> None:
    run = run_of(name, "task.pack_answers=true", "data.max_length=64")
    network, tokenizer = network_of(run), run.model.load_tokenizer()
    packed = run.task.encode_training(rows_of(run), tokenizer, 64, LABELS)
    alone = run.task.encode(rows_of(run), tokenizer, 64, LABELS)
    assert len(packed["input_ids"]) < len(alone["input_ids"]) == len(ROWS)
    losses = [our_loss(run, network, each, tokenizer) for each in (packed, alone)]
    torch.testing.assert_close(*losses, atol=1e-6, rtol=1e-5)
    gradients = [torch.autograd.grad(loss, list(network.parameters())) for loss in losses]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


@pytest.fixture(scope="module")
def trained_of(
    run_of: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Trained]:
    @cache
    def make(name: str) -> Trained:
        run, folder = run_of(name), tmp_path_factory.mktemp("run")
        outcome = fit(run, folder, Identity("x", None, folder))
        assert outcome.ending is Ending.finished and outcome.best is not None, outcome.reason
        return Trained(run, folder, "run x", outcome.best.metrics, "")

    return make


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_is_bit_equal(
    name: str, trained_of: Callable[[str], Trained], here: Path
) -> None:
    whole = trained_of(name)
    for hooks in (StopAt(17), None):
        fit(whole.run, here, Identity("x", None, here), hooks)
    expected, found = load_best(whole.folder), load_best(here)
    assert expected is not None and found is not None
    torch.testing.assert_close(found.weights, expected.weights, atol=0, rtol=0)


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_the_export_answers_as_the_run_and_ends_where_it_was_trained_to(
    name: str, trained_of: Callable[[str], Trained], here: Path
) -> None:
    trained = trained_of(name)
    export(trained, here / "best")
    rows = [{"text": row["text" if name in ENCODERS else "document"]} for row in ROWS]
    ours = [each["prediction"] for each in trained.load().predict(rows)]
    assert ours == [row["label" if name in ENCODERS else "summary"] for row in ROWS]
    tokenizer = transformers.AutoTokenizer.from_pretrained(here / "best")
    auto: Any = transformers.AutoModelForSequenceClassification
    if name not in ENCODERS:
        is_decoder = name in DECODERS
        auto = transformers.AutoModelForSeq2SeqLM
        auto = transformers.AutoModelForCausalLM if is_decoder else auto
    network = auto.from_pretrained(here / "best").eval()
    for row, text in zip(rows, ours, strict=True):
        given = tokenizer(row["text"], return_tensors="pt", return_token_type_ids=False)
        if name in DECODERS:
            ids = torch.tensor([asked(f"{row['text']}\n", tokenizer)])
            given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if name in ENCODERS:
            with torch.inference_mode():
                number = int(network(**given).logits.argmax())
            assert network.config.id2label[number] == text
            continue
        (tokens,) = network.generate(**given, max_new_tokens=16)
        tokens = tokens[given["input_ids"].shape[1] :] if name in DECODERS else tokens[1:]
        assert tokens[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == text
