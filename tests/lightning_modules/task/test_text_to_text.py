"""What tasks that generate a text share: examples, loss, generation, tables, export."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from lightning_modules.batch.type import IGNORED
from lightning_modules.cache import Cache
from lightning_modules.check import check_run
from lightning_modules.error import ConfigError, DataError
from lightning_modules.export.model import load_exported
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.model.files.manifest import MANIFEST, SUMS
from lightning_modules.network import build_network
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from lightning_modules.task.base import Examples
from lightning_modules.task.text_to_text import TextToText
from search.config import build_run, compose
from search.trained.export import Trained, export
from search.trained.runs import find_run
from tests.conftest import run_here, write_jsonl
from tests.cut import StopAt

WORDS = ("great", "awful", "boring", "funny", "long", "short", "story", "film")
TASKS = ("summarization", "translation")
FIELDS = {"summarization": ("document", "summary"), "translation": ("source", "target")}
WRITER = ("model=tiny", "model.kind=encoder_decoder", "logger=none", "trainer.precision=fp32")


def task(name: str = "summarization", *words: str) -> TextToText:
    found = build_run(compose("train", [f"task={name}", *words]).tree).task
    assert isinstance(found, TextToText)
    return found


@pytest.fixture
def copying(here: Path) -> Path:
    """Write rows whose target is their source."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) for _ in range(1000)]
    return write_jsonl(here / "copying.jsonl", [{"document": t, "summary": t} for t in texts])


@pytest.fixture
def make_run(copying: Path) -> Callable[..., Run]:
    def make(*words: str) -> Run:
        data = ("task=summarization", "data=files", f"data.train={copying}", "data.batch_size=32")
        few = ("data.validation_fraction=0.06", "data.test_fraction=0")
        return build_run(compose("train", [*WRITER, "strategy=full", *data, *few, *words]).tree)

    return make


def train(run: Run, folder: Path) -> Outcome:
    folder.mkdir(parents=True)
    return fit(run, folder, Identity("test", None, folder))


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.thorough
def test_training_learns_to_copy(make_run: Callable[..., Run], here: Path) -> None:
    words = ("model.width=64", "optimizer.lr=2e-3", "trainer.epochs=6", "schedule=cosine")
    slow = ("schedule.warmup_fraction=0.2", "data.batch_size=16", "trainer.validations_per_epoch=1")
    run = make_run(*words, *slow, "task.no_repeat_ngram_size=0")
    outcome = train(run, here / "run")
    assert outcome.ending is Ending.finished and outcome.best is not None
    assert outcome.best.metrics["rouge1"] > 0.95
    assert outcome.points[0].validation_loss > 10 * outcome.best.validation_loss
    (scoring,) = table(here / "run", "scoring")
    assert scoring["num_generated"] == 60
    assert scoring["num_different"] > 30
    generated = table(here / "run", "generated")
    assert len(generated) == 50
    assert [r["source"] for r in generated[:10]] == [
        row["text"] for row in check_run(run).corpus.splits["validation"][:10]
    ]
    scores = [r["score"] for r in generated[10:]]
    assert scores == sorted(scores)


@pytest.mark.thorough
@pytest.mark.parametrize("model", [("model.kind=encoder_decoder",), ("model.kind=encoder",)])
@pytest.mark.parametrize("beams", [1, 3])
def test_an_export_generates_the_same_with_plain_transformers(
    make_run: Callable[..., Run], here: Path, model: tuple[str, ...], beams: int
) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    short = ("optimizer.lr=1e-2", "trainer.epochs=1", "task.max_new_tokens=7")
    run = make_run(*model, *short, f"task.num_beams={beams}", "task.length_penalty=0.5")
    outcome = train(run, here / "run")
    assert outcome.best is not None
    trained = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    export(trained, here / "best")
    rows = [{"text": f"{one} {other}"} for one in WORDS[:4] for other in WORDS]
    ours = trained.load().predict(rows)
    network = AutoModelForSeq2SeqLM.from_pretrained(here / "best")
    assert network.generation_config.max_new_tokens == 7
    assert network.generation_config.num_beams == beams
    assert network.generation_config.length_penalty == (0.5 if beams > 1 else None)
    tokenizer = AutoTokenizer.from_pretrained(here / "best")
    for row, mine in zip(rows, ours, strict=True):
        inputs = tokenizer(row["text"], return_tensors="pt", return_token_type_ids=False)
        (tokens,) = network.generate(**inputs)
        assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == mine["prediction"]
    assert load_exported(here / "best", run.task).predict(rows) == ours


@pytest.mark.thorough
def test_the_commands_evaluate_export_and_predict(copying: Path, here: Path) -> None:
    few = ("data.max_train_rows=64", "data.validation_fraction=0.03", "data.test_fraction=0.03")
    data = ("task=summarization", "data=files", f"data.train={copying}", *few)
    brief = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "task.max_new_tokens=5")
    train_words = ("strategy=full", "optimizer.lr=1e-2", *data, *brief)
    output = run_here("train", "run=one", *WRITER, *train_words)
    metrics = json.loads((here / "runs/one/metrics.json").read_text())
    assert set(metrics) == {"validation/rouge1", "validation/rouge2", "validation/rougeL"}
    assert "validation/rougeL" in output
    assert output.endswith("Next: finesweep evaluate run=one split=test\n")
    scores = json.loads(run_here("evaluate", "run=one", "--json"))
    assert {f"validation/{name}": value for name, value in scores.items()} == metrics
    export(find_run("one"), here / "best")
    again = run_here("evaluate", "model=best", "split=validation", *data[1:], "--json")
    assert json.loads(again) == pytest.approx(scores, abs=1e-3)
    write_jsonl(here / "new.jsonl", [{"document": "great film"}, {"document": "long story"}])
    run_here("predict", "model=best", "input=new.jsonl", "output=out.jsonl")
    rows = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert [row["document"] for row in rows] == ["great film", "long story"]
    assert all(isinstance(row["prediction"], str) for row in rows)
    card = (here / "best/README.md").read_text().split("```python\n")[1].split("```")[0]
    words = [sys.executable, "-c", card]
    done = subprocess.run(words, cwd=here / "best", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_a_resumed_run_generates_the_same_texts(make_run: Callable[..., Run], here: Path) -> None:
    run = make_run("optimizer.lr=1e-2", "trainer.epochs=1", "task.max_new_tokens=5")
    train(run, here / "whole")
    (here / "cut").mkdir()
    first = fit(run, here / "cut", Identity("test", None, here), StopAt(9))
    assert first.ending is Ending.interrupted
    fit(run, here / "cut", Identity("test", None, here))
    for name in ("generated", "scoring"):
        assert table(here / "whole", name) == table(here / "cut", name)


@pytest.mark.thorough
def test_num_generated_limits_the_texts_to_the_first_rows(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "task.max_new_tokens=5")
    some = train(make_run(*short, "task.num_generated=7"), here / "some")
    every = train(make_run(*short), here / "every")
    assert table(here / "some", "scoring")[0]["num_generated"] == 7
    assert table(here / "some", "generated") == table(here / "every", "generated")[:7]
    # Other batches have other sums, in fp32.
    for one, other in zip(some.points, every.points, strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-5)
    monkeypatch.setattr(TextToText, "num_written", lambda task, num_examples: 7)
    alike = train(make_run(*short), here / "alike")  # writes every text, in the batches of `some`
    assert table(here / "alike", "generated") == table(here / "every", "generated")
    for one, other in zip(some.points, alike.points, strict=True):
        assert one.validation_loss == other.validation_loss


def test_the_loss_equals_that_of_the_architecture(make_run: Callable[..., Run]) -> None:
    run = make_run()
    network: Any = build_network(run, (), Cache()).eval()
    labels_BT = torch.tensor([[20, 30, 3], [40, 3, IGNORED]])
    inputs = {"input_ids": torch.tensor([[2, 9, 3], [2, 8, 3]])}
    batch = {**inputs, "attention_mask": torch.ones(2, 3, dtype=torch.long), "labels": labels_BT}
    output = run.task.forward(network, batch)
    mean = run.task.loss_sum(output, batch) / run.task.num_targets(batch)
    assert run.task.num_targets(batch) == 5
    assert mean.item() == pytest.approx(network(**batch).loss.item(), abs=1e-5)


def test_label_smoothing_equals_that_of_torch(make_run: Callable[..., Run]) -> None:
    run = make_run("task.label_smoothing=0.1")
    network: Any = build_network(run, (), Cache()).eval()
    labels_BT = torch.tensor([[20, 30, 3], [40, 3, IGNORED]])
    batch = {"input_ids": torch.tensor([[2, 9, 3], [2, 8, 3]]), "labels": labels_BT}
    logits_BTV = network(**batch).logits
    wanted = cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), label_smoothing=0.1)
    found = run.task.loss_sum(run.task.forward(network, batch), batch)
    assert found.item() == pytest.approx(5 * wanted.item(), rel=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_examples_have_a_prefix_and_a_truncated_first_reference(name: str) -> None:
    run = build_run(
        compose("train", [f"task={name}", "task.prefix='short: '", "task.max_new_tokens=5"]).tree
    )
    from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer

    assert isinstance(run.task, TextToText)
    tokenizer = train_tokenizer(["short: a long story"], Vocabulary.characters, 0, None)
    rows = [{"text": "a long", "label": ["story", "not"]}]
    columns = run.task.encode(rows, tokenizer, 99, ())
    assert tokenizer.decode(columns["input_ids"][0], skip_special_tokens=True) == "short: a long"
    assert tokenizer.decode(columns["labels"][0]) == "<s>sto</s>"
    assert "labels" not in run.task.encode([{"text": "a long"}], tokenizer, 99, ())
    assert list(run.task.texts(rows[0])) == ["short: a long", "story", "not"]


@pytest.mark.parametrize("name", TASKS)
def test_columns_and_references_are_read_from_files(name: str, here: Path) -> None:
    source, target = FIELDS[name]
    rows = [
        {source: f"text {n}", target: [f"one {n}", "two"] if n % 2 else f"one {n}"}
        for n in range(40)
    ]
    write_jsonl(here / "rows.jsonl", rows)
    run = build_run(compose("train", [f"task={name}", "data=files", "data.train=rows.jsonl"]).tree)
    splits = run.data.load(run.task).splits
    found = {row["text"]: row["label"] for rows in splits.values() for row in rows}
    assert found["text 3"] == ["one 3", "two"] and found["text 4"] == ["one 4"]
    assert len(found) == 40
    (here / "rows.jsonl").write_text(json.dumps({source: "a", target: ["b", ""]}) + "\n")
    with pytest.raises(DataError, match=rf"^rows.jsonl:1:{target}: must be text, or a list of"):
        run.data.load(run.task)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("task.num_beams=0", "task.num_beams: must be > 0, got 0"),
        ("task.max_new_tokens=2", "task.max_new_tokens: must be > 2 tokens, got 2"),
        ("task.label_smoothing=1", "task.label_smoothing: must be >= 0 and < 1, got 1"),
        ("task.no_repeat_ngram_size=-1", "task.no_repeat_ngram_size: must be >= 0, got -1"),
        ("task.num_generated=0", "task.num_generated: must be > 0, got 0"),
    ],
)
def test_invalid_settings_are_refused(words: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        task("translation", words)
    assert str(raised.value).startswith(message)


def test_a_decoder_only_model_is_refused(make_run: Callable[..., Run]) -> None:
    with pytest.raises(ConfigError) as raised:
        check_run(make_run("model.kind=decoder"))
    assert str(raised.value).startswith(
        "model: task=summarization needs a model of kind encoder_decoder or encoder, got tiny, "
        "of kind decoder."
    )


def test_too_many_new_tokens_for_the_model_are_refused(make_run: Callable[..., Run]) -> None:
    with pytest.raises(ConfigError) as raised:
        check_run(make_run("task.max_new_tokens=513"))
    assert str(raised.value) == (
        "task.max_new_tokens: must be <= 512, the tokens that tiny can write, got 513. "
        "Set task.max_new_tokens=512."
    )


@pytest.mark.parametrize(("num_different", "is_reported"), [(1, True), (2, False)])
def test_the_same_text_for_every_row_is_reported(num_different: int, is_reported: bool) -> None:
    from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer

    tokenizer = train_tokenizer(["ab"], Vocabulary.characters, 0, None)
    written = [[tokenizer.convert_tokens_to_ids("ab"[n % num_different])] for n in range(6)]
    rows = [{"text": f"row {n}", "label": ["x"]} for n in range(6)]
    examples = Examples(rows, (), tokenizer)
    tables = task().tables({"written_BT": torch.tensor(written)}, examples)
    assert json.loads(json.dumps(tables)) == tables
    sentence = task().constant_prediction(tables)
    assert sentence == ("writes 'a' for every row" if is_reported else None)


@pytest.mark.thorough
def test_an_adapter_generates_as_validated_whatever_the_settings_of_its_base(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run("strategy=prefix_tuning", "trainer.max_steps=2", "task.max_new_tokens=7")
    outcome = train(run, here / "run")
    assert outcome.best is not None
    trained = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    export(trained, here / "best")
    (here / "best/base/generation_config.json").unlink()  # a base from the hub has other settings
    manifest = json.loads((here / "best" / MANIFEST).read_text())
    del manifest[SUMS]  # which would not be those of that base
    (here / "best" / MANIFEST).write_text(json.dumps(manifest))
    loaded = load_exported(here / "best", run.task)
    network: Any = loaded.network
    assert network.generation_config.max_new_tokens == 7
    rows = [{"text": "great film"}, {"text": "long awful story"}]
    assert loaded.predict(rows) == trained.load().predict(rows)
    card = (here / "best/README.md").read_text().split("```python\n")[1].split("```")[0]
    words = [sys.executable, "-c", f"{card}\nprint(model.generation_config.max_new_tokens)"]
    done = subprocess.run(words, cwd=here / "best", capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["7"], done.stderr
