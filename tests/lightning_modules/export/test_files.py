"""The files of an exported language model: number format, chat template, card, adapter alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_modules.error import ConfigError
from lightning_modules.export.model import load_exported
from lightning_modules.export.predictor import load_trained
from lightning_modules.strategy.adapter.merge import merged_in_place
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import run_here, write_jsonl
from tests.lightning_modules.model.test_decoder import config_of, write_tokenizer
from tests.training import train
from tests.vllm import check_adapter, check_model

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
QUESTION = "Your question"


def write_model(folder: Path, dtype: torch.dtype) -> Path:
    """Write a small random Qwen3 with its tokenizer."""
    config = config_of("qwen3", write_tokenizer("qwen3", folder))
    torch.manual_seed(0)
    network = transformers.AutoModelForCausalLM.from_config(config)
    network.to(dtype).save_pretrained(folder)
    return folder


@pytest.fixture
def trained(here: Path) -> Callable[..., Trained]:
    def make(rows: list[dict[str, Any]], *words: str, dtype: Any = torch.bfloat16) -> Trained:
        model = ("model=qwen3", f"model.path={write_model(here / 'qwen3', dtype)}", "logger=none")
        data = ("data=files", f"data.train={write_jsonl(here / 'rows.jsonl', rows)}")
        task = ("task=generation", "task.num_generated=2", "task.max_new_tokens=4")
        short = ("data.max_length=64", "trainer.max_steps=3", "data.batch_size=8")
        fixed = ("trainer.device=cpu", "trainer.precision=fp32", "strategy.lr=1e-2")
        run = build_run(compose("train", [*model, *data, *task, *short, *fixed, *words]).tree)
        outcome = train(run, here / "run")
        assert outcome.best is not None, outcome.reason
        return Trained(run, here / "run", "run x", outcome.best.metrics, "")

    return make


TEXTS = [{"text": f"a text of number {number}"} for number in range(40)]
QUESTIONS = [{"text": f"what is {n}?", "label": f"number {n}"} for n in range(40)]
CHATS = [
    {"text": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": "yes"}]}
    for row in QUESTIONS
]
LABELLED = ("task.label=label",)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("strategy", ["lora", "full"])
def test_weights_are_in_the_format_of_the_models_file(
    trained: Callable[..., Trained], here: Path, strategy: str, dtype: torch.dtype
) -> None:
    result = trained(TEXTS, f"strategy={strategy}", dtype=dtype)
    export(result, here / "best")
    name = str(dtype).removeprefix("torch.")
    assert check_model(here / "best")["dtype"] == name
    plain = transformers.AutoModelForCausalLM.from_pretrained(here / "best")
    assert {each.dtype for each in plain.parameters()} == {dtype}
    before, after = (
        sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        for folder in (here / "qwen3", here / "best")
    )
    assert after == pytest.approx(before, rel=0.01)
    ours = result.load().network.eval()
    ids = torch.randint(5, 300, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = ours(ids).logits, plain.float().eval()(ids).logits
    close = 1e-4 if dtype is torch.float32 else 0.05
    torch.testing.assert_close(one, other, atol=close, rtol=close)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rows", "words", "asked"),
    [
        (TEXTS, (), "Your text"),
        (QUESTIONS, (*LABELLED, "task.template='Q: {text} A: '"), "'Q: Your question A: '"),
        (CHATS, (f'task.chat_template="{TEMPLATE}"',), "apply_chat_template"),
    ],
)
def test_the_card_asks_as_the_rows_did(
    trained: Callable[..., Trained],
    here: Path,
    rows: list[dict[str, Any]],
    words: tuple[str, ...],
    asked: str,
) -> None:
    result = trained(rows, "strategy=lora", *words, dtype=torch.float32)
    export(result, here / "best")
    card = (here / "best/README.md").read_text(encoding="utf-8")
    assert asked in card
    text = "Your text" if rows is TEXTS else QUESTION
    row = {"text": [{"role": "user", "content": text}] if rows is CHATS else text}
    (ours,) = result.load().predict([row])
    written = run_card(here / "best", card)
    assert written.endswith(ours["prediction"].strip())
    (again,) = load_exported(here / "best", result.run.task).predict([row])
    assert again == ours


def run_card(folder: Path, card: str) -> str:
    code = card.split("```python\n")[1].split("```", maxsplit=1)[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_chat_template_that_was_trained_is_exported(
    trained: Callable[..., Trained], here: Path
) -> None:
    result = trained(CHATS, "strategy=lora", f'task.chat_template="{TEMPLATE}"')
    export(result, here / "best")
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(here / "best")
    chat = [{"role": "user", "content": QUESTION}]
    asked = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert asked == f"<user>{QUESTION}<|im_end|><assistant>"
    settings = json.loads((here / "best/generation_config.json").read_text())
    assert tokenizer.eos_token_id in [settings["eos_token_id"]]


def test_a_model_trained_on_texts_gets_no_chat_template(
    trained: Callable[..., Trained], here: Path
) -> None:
    export(trained(TEXTS, "strategy=lora"), here / "best")
    assert transformers.AutoTokenizer.from_pretrained(here / "best").chat_template is None


def test_an_adapter_alone(trained: Callable[..., Trained], here: Path) -> None:
    from peft import PeftModel

    result = trained(QUESTIONS, "strategy=lora", *LABELLED)
    export(result, here / "best", merge=False)
    assert not list((here / "best").glob("*.safetensors")) and not (here / "best/base").exists()
    base = transformers.AutoModelForCausalLM.from_pretrained(here / "qwen3", dtype=torch.float32)
    settings = check_adapter(here / "best/adapter", base)
    assert settings["base_model_name_or_path"] == str(here / "qwen3")
    alone = PeftModel.from_pretrained(base, here / "best/adapter").eval()
    ours = result.load().network.eval()
    ids = torch.randint(5, 300, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids).logits, alone(ids).logits, atol=1e-4, rtol=1e-4)
    rows = [{"text": QUESTION}]
    again = load_exported(here / "best", result.run.task)
    assert again.predict(rows) == result.load().predict(rows)
    card = (here / "best/README.md").read_text(encoding="utf-8")
    assert run_card(here / "best", card).endswith(again.predict(rows)[0]["prediction"].strip())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("model=tiny", "strategy=full"), "merge: must be true unless the strategy trains adap"),
        (("model=tiny", "strategy=lora"), "merge: must be true if no file has the base model, "),
    ],
)
def test_an_adapter_that_could_not_be_used_alone_is_refused(
    here: Path, words: tuple[str, ...], line: str
) -> None:
    run = build_run(compose("train", [*words, "logger=none"]).tree)
    with pytest.raises(ConfigError) as raised:
        export(Trained(run, here, "run x", {}, ""), here / "best", merge=False)
    assert str(raised.value).startswith(line)


def test_merge_is_true_or_false(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    run_here("export", "run=a", "to=out", "merge=no", code=2)
    assert capsys.readouterr().err.startswith("merge: must be true or false, got 'no'.")


def test_merging_takes_no_second_copy(trained: Callable[..., Trained]) -> None:
    result = trained(TEXTS, "strategy=lora")
    network: Any = load_trained(result.run, result.folder, (), for_export=True).network
    base = network.get_base_model()
    places = {
        name.replace(".base_layer", ""): each.data_ptr()
        for name, each in base.named_parameters()
        if "lora_" not in name
    }
    held = {each.dtype for name, each in base.named_parameters() if "layers" in name}
    assert torch.bfloat16 in held
    plain = merged_in_place(network)
    assert {name: each.data_ptr() for name, each in plain.named_parameters()} == places
    linear = (each for each in plain.modules() if isinstance(each, torch.nn.Linear))
    assert {each.weight.dtype for each in linear} == {torch.bfloat16}
