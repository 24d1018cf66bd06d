"""An export loads without finesweep and predicts the same."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lightning_modules.error import ConfigError
from lightning_modules.export.model import load_exported
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.minilm import Minilm, Source
from lightning_modules.rows.embedded import REVIEWS
from lightning_modules.run import Run
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import write_jsonl

TEXTS = [
    json.loads(line)["text"] for line in REVIEWS.read_text(encoding="utf-8").splitlines()[-60:]
]


# With MiniLM, a part of the reviews: enough to separate two labels.
FEW = ("data=files", f"data.train={REVIEWS}", "data.max_train_rows=160", "data.batch_size=16")


@pytest.fixture
def trained(here: Path) -> Callable[..., Trained]:
    def make(*words: str) -> Trained:
        fixed = ("logger=none", "trainer.epochs=1", "trainer.validations_per_epoch=1")
        run = build_run(compose("train", [*fixed, *words]).tree)
        outcome = fit(run, here / "run", Identity("x", None, here))
        assert outcome.best is not None
        return Trained(run, here / "run", "run x", outcome.best.metrics, "")

    return make


def labels_of(predictions: list[dict[str, Any]]) -> list[str]:
    return [prediction["prediction"] for prediction in predictions]


def plain(network: Any, tokenizer: Any, labels: dict[int, str]) -> list[str]:
    """Predict one text at a time, without finesweep."""
    predicted = []
    with torch.inference_mode():
        for text in TEXTS:
            inputs = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
            predicted.append(labels[network.eval()(**inputs).logits.argmax().item()])
    return predicted


@pytest.mark.thorough
@pytest.mark.parametrize("words", [("strategy=full",), ("strategy=lora",)])
def test_an_auto_class_predicts_the_same(
    trained: Callable[..., Trained], here: Path, words: tuple[str, ...]
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = trained("model=tiny", "strategy.lr=5e-3", *words)
    export(result, here / "best")
    ours = labels_of(result.load().predict([{"text": text} for text in TEXTS]))
    network = AutoModelForSequenceClassification.from_pretrained(here / "best")
    tokenizer = AutoTokenizer.from_pretrained(here / "best")
    assert plain(network, tokenizer, network.config.id2label) == ours
    again = load_exported(here / "best", result.run.task)
    assert labels_of(again.predict([{"text": text} for text in TEXTS])) == ours


@pytest.mark.thorough
def test_an_adapter_loads_with_peft(trained: Callable[..., Trained], here: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = trained("model=minilm", "strategy=lora", *FEW)
    export(result, here / "best")
    ours = labels_of(result.load().predict([{"text": text} for text in TEXTS]))
    assert set(ours) == {"negative", "positive"}
    base = Minilm(source=Source.package, attention=Attention.sdpa, dtype=Dtype.fp32).location()
    network = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    network = PeftModel.from_pretrained(network, here / "best" / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(here / "best")
    assert plain(network, tokenizer, {0: "negative", 1: "positive"}) == ours
    settings = json.loads((here / "best/adapter/adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.thorough
def test_the_code_in_the_model_card_runs(trained: Callable[..., Trained], here: Path) -> None:
    result = trained("model=tiny", "strategy=full", "strategy.lr=5e-3")
    export(result, here / "best")
    assert _run_card(here / "best", {}) in ("negative", "positive")


@pytest.mark.thorough
def test_the_card_for_feature_extraction_loads_base_and_head(
    trained: Callable[..., Trained], here: Path
) -> None:
    result = trained("model=minilm", "strategy=feature_extraction", *FEW)
    export(result, here / "best")
    files = {path.name for path in (here / "best").iterdir()}
    assert "head.safetensors" in files and "model.safetensors" not in files
    base = Minilm(source=Source.package, attention=Attention.sdpa, dtype=Dtype.fp32).location()
    named = {"'sentence-transformers/all-MiniLM-L6-v2'": repr(base)}
    text = "Your text."
    (ours,) = labels_of(result.load().predict([{"text": text}]))
    assert _run_card(here / "best", named) == ours
    again = load_exported(here / "best", result.run.task, base)
    assert labels_of(again.predict([{"text": text}])) == [ours]


def test_a_backbone_that_is_not_on_the_hub_is_exported(
    trained: Callable[..., Trained], here: Path
) -> None:
    result = trained("model=tiny", "strategy=feature_extraction")
    export(result, here / "best")
    ours = result.load().predict([{"text": text} for text in TEXTS])
    again = load_exported(here / "best", result.run.task, None)
    assert again.predict([{"text": text} for text in TEXTS]) == ours


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_head_with_other_than_finite_numbers_is_refused(
    trained: Callable[..., Trained], here: Path, value: float
) -> None:
    result = trained("model=tiny", "strategy=feature_extraction")
    export(result, here / "best")
    path = here / "best/head.safetensors"
    head = load_file(path)
    head["bias"][0] = value
    save_file(head, path)
    manifest = json.loads((here / "best/finesweep.json").read_text())
    del manifest["files"]  # the sums: as if somebody else had written it
    (here / "best/finesweep.json").write_text(json.dumps(manifest))
    rule = r"head\.safetensors of \S+ must have finite numbers in bias, got NaN or infinity"
    with pytest.raises(ConfigError, match=rule):
        load_exported(here / "best", result.run.task, None)


WORDS = ["Anna", "Berg", "left", "Oslo"]
CONTEXT = "It was Ann Bell who wrote it."
WITH_A_VALUE_PER_TOKEN: dict[str, tuple[Callable[[int], dict[str, Any]], dict[str, Any]]] = {
    "token_classification": (
        lambda n: {"text": [f"No{n}", *WORDS], "label": ["O", "B-PER", "I-PER", "O", "B-LOC"]},
        {"text": WORDS},
    ),
    "question_answering": (
        lambda n: {
            "text": f"{CONTEXT} {n}",
            "text_pair": "Who wrote it?",
            "label": {"text": ["Ann Bell"], "answer_start": [7]},
        },
        {"text": CONTEXT, "text_pair": "Who wrote it?"},
    ),
    "similarity": (
        lambda n: {"text": f"one {n}", "text_pair": f"two {n % 7}", "label": n % 5},
        {"text": "A text.", "text_pair": "Another."},
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize("task", WITH_A_VALUE_PER_TOKEN)
def test_the_card_leaves_out_what_the_network_says_of_virtual_tokens(
    trained: Callable[..., Trained], here: Path, task: str
) -> None:
    row_of, row = WITH_A_VALUE_PER_TOKEN[task]
    path = write_jsonl(here / "rows.jsonl", [row_of(n) for n in range(40)])
    data = ("data=files", f"data.train={path}", "data.text=text", "data.label=label")
    data = (*data, "data.text_pair=text_pair") if "text_pair" in row else data
    result = trained(
        f"task={task}", "model=tiny", "model.kind=encoder", "strategy=prompt_tuning", *data
    )
    export(result, here / "best")
    (ours,) = load_exported(here / "best", result.load().task).predict([row])
    card = (here / "best/README.md").read_text()
    assert "virtual tokens come first" in card
    printed = _run_card(here / "best", {}, num_lines=len(WORDS))
    if task == "token_classification":
        expected = [f"{word} {tag}" for word, tag in zip(WORDS, ours["prediction"], strict=True)]
        assert printed.splitlines() == expected
    elif task == "similarity":
        assert float(printed) == pytest.approx(ours["prediction"], abs=1e-5)
    else:
        assert printed == ours["prediction"]


@pytest.mark.thorough
def test_feature_extraction_ignores_the_decoder(
    trained: Callable[..., Trained], here: Path
) -> None:
    words = ("model.kind=encoder_decoder", "strategy=feature_extraction")
    result = trained("model=tiny", *words)
    export(result, here / "best")
    ours = result.load().predict([{"text": text} for text in TEXTS])
    again = load_exported(here / "best", result.run.task, None)
    network: Any = again.network
    for parameter in network.backbone.decoder.layers.parameters():
        parameter.data.fill_(torch.nan)
    assert again.predict([{"text": text} for text in TEXTS]) == ours
    (yours,) = labels_of(result.load().predict([{"text": "Your text."}]))
    assert _run_card(here / "best", {}) == yours


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", ["full", "lora", "feature_extraction"])
def test_every_exported_file_follows_the_umask(
    trained: Callable[..., Trained], here: Path, strategy: str
) -> None:
    result = trained("model=tiny", f"strategy={strategy}")
    before = os.umask(0o027)
    try:
        export(result, here / "best")
    finally:
        os.umask(before)
    files = [path for path in (here / "best").rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_the_card_names_files_and_columns(
    trained: Callable[..., Trained], learnable: Path, here: Path
) -> None:
    text = learnable.read_text(encoding="utf-8").replace('"text"', '"a|b"')
    (here / "data").mkdir()
    (here / "data" / "mine.jsonl").write_text(text, encoding="utf-8")
    file = here / "data" / "mine.jsonl"
    result = trained("model=tiny", "data=files", f"data.train={file}", "data.text='a|b'")
    export(result, here / "best")
    card = (here / "best" / "README.md").read_text(encoding="utf-8")
    assert "| data.train | mine.jsonl |" in card
    assert "| data.text | a\\|b |" in card and "| data.label | label |" in card
    assert "data.test" not in card and str(here) not in card


def test_an_export_overwrites_nothing(trained: Callable[..., Trained], here: Path) -> None:
    from lightning_modules.error import ConfigError

    (here / "best").mkdir()
    (here / "best" / "mine.txt").write_text("keep me")
    result = Trained(_any_run(), here, "run x", {}, "")
    with pytest.raises(ConfigError, match="new or empty folder"):
        export(result, here / "best")
    assert [path.name for path in (here / "best").iterdir()] == ["mine.txt"]


def _any_run() -> Run:
    return build_run(compose("train", ["model=tiny"]).tree)


def _run_card(folder: Path, replaced: dict[str, str], num_lines: int = 1) -> str:
    """Return the last lines that the code of a card prints."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0]
    for old, new in replaced.items():
        assert old in code
        code = code.replace(old, new)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return "\n".join(done.stdout.strip().splitlines()[-num_lines:])
