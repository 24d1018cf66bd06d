from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from lightning_modules.error import ConfigError, DataError
from lightning_modules.export.model import load_exported
from lightning_modules.rows.corpus import Corpus
from lightning_modules.task.base import Examples
from lightning_modules.task.embedding import Pooling, cosines
from lightning_modules.task.similarity import Similarity
from search.cli import main
from search.config import build_run, compose
from tests.conftest import run_here, write_jsonl

NONE: Any = None
TASK = Similarity(
    metric="spearman",
    text="text",
    text_pair="text_pair",
    label="label",
    low=None,
    high=None,
    pooling=Pooling.mean,
)
NOUNS = ("hotel", "novel", "kettle", "museum")


def rows_of(numbers: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {"text": f"one {n}", "text_pair": f"other {n}", "label": float(each)}
        for n, each in enumerate(numbers)
    ]


def corpus(numbers: Sequence[float]) -> Corpus:
    return Corpus({"train": rows_of(numbers), "validation": rows_of([1, 2])})


@pytest.fixture
def pairs(here: Path) -> Path:
    """Pairs that are alike if they are about the same thing, with numbers from 10 to 50."""
    rows = [
        {
            "text": f"the {one} {n}",
            "text_pair": f"a {other} {n + 3}",
            "label": 50 if one == other else 10,
        }
        for n in range(12)
        for one in NOUNS
        for other in NOUNS
    ]
    return write_jsonl(here / "pairs.jsonl", rows)


def test_the_numbers_become_shares_of_the_training_range() -> None:
    fitted = TASK.fit_to_rows(corpus([1, 3, 5]), ())
    assert fitted.state == {"pooling": "mean", "low": 1, "high": 5}
    columns = fitted.encode(rows_of([1, 2, 5, 7]), fake_tokenizer, 16, ())
    assert columns["labels"] == [0, 0.25, 1, 1.5]
    assert TASK.from_state(fitted.state) == fitted


def fake_tokenizer(texts: Sequence[str], **_: Any) -> dict[str, Any]:
    return {"input_ids": [[1] * len(text.split()) for text in texts]}


def test_scores_equal_their_references() -> None:
    torch.manual_seed(0)
    cosines_B, numbers = torch.rand(40), torch.randint(0, 6, (40,)).tolist()
    task = TASK.fit_to_rows(corpus([0, 5]), ())
    examples = Examples(rows_of(numbers), (), NONE)
    scores = task.score({"cosine_B": cosines_B}, examples)
    assert scores["spearman"] == pytest.approx(spearmanr(cosines_B, numbers)[0], abs=2e-6)
    assert scores["pearson"] == pytest.approx(pearsonr(cosines_B, numbers)[0], abs=2e-6)
    errors = [
        cosine - number / 5 for cosine, number in zip(cosines_B.tolist(), numbers, strict=True)
    ]
    assert scores["mse"] == pytest.approx(sum(e * e for e in errors) / 40, abs=2e-6)
    (worst, *_) = task.tables({"cosine_B": cosines_B}, examples)["mistakes"]
    assert abs(worst["cosine"] - worst["expected"]) == pytest.approx(
        max(map(abs, errors)), abs=2e-6
    )


def test_a_constant_guess_is_the_baseline() -> None:
    assert TASK.baseline(rows_of([0, 5, 5, 0])).score == 0
    by_mse = Similarity(**{**vars(TASK), "metric": "mse"})
    assert by_mse.baseline(rows_of([0, 5, 5, 0])).score == 0.25


def test_numbers_that_teach_nothing_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        TASK.labels(corpus([3, 3]))
    assert str(caught.value) == (
        "data.label: must have at least two different numbers, from task.low to task.high, got 3 "
        "to 3 in the 2 training rows. Set data.label to the column with the numbers. For pairs "
        "without numbers, set task=retrieval."
    )
    with pytest.raises(ConfigError, match=r"task\.low: must be < high=1, got 2"):
        build_run(compose("train", ["task=similarity", "task.low=2", "task.high=1"]).tree)


def test_a_range_that_is_guessed_is_said_and_what_lies_outside_too() -> None:
    rows = {"train": rows_of([1, 5]), "validation": rows_of([0, 3])}
    guessed, outside = TASK.notes(rows)
    assert guessed.startswith("1 is learnt as nothing in common and 5 as the same meaning")
    assert outside == "1 of 4 rows have a number outside 1 to 5"
    typed = Similarity(**{**vars(TASK), "low": 0.0, "high": 5.0})
    assert list(typed.notes(rows)) == []


@pytest.mark.thorough
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_export_gives_the_same_cosines_in_other_libraries(
    pooling: str, pairs: Path, here: Path
) -> None:
    words = ("task=similarity", f"task.pooling={pooling}", "model=tiny", "model.kind=encoder")
    data = ("data=files", f"data.train={pairs}", "data.max_length=32", "logger=none")
    run_here(
        "train", "run=alike", *words, *data, "strategy=full", "strategy.lr=3e-3", "trainer.epochs=6"
    )
    scores = json.loads(run_here("evaluate", "run=alike", "split=test", "--json"))
    assert scores["spearman"] > (0.6 if pooling == "mean" else 0)
    run_here("export", "run=alike", "to=best")
    new = [
        {"text": "the hotel 1", "text_pair": "a hotel 99"},
        {"text": "a kettle", "text_pair": "the novel 7 7"},
    ]
    write_jsonl(here / "new.jsonl", new)
    run_here("predict", "model=best", "input=new.jsonl", "output=out.jsonl")
    found = [
        json.loads(line)["prediction"] for line in (here / "out.jsonl").read_text().splitlines()
    ]
    assert found[0] > found[1] + (0.3 if pooling == "mean" else 0)
    card = (here / "best/README.md").read_text().partition("```python\n")[2].partition("```")[0]
    for row, cosine in zip(new, found, strict=True):
        lines = card.replace("A text.", row["text"]).replace("Another.", row["text_pair"])
        done = subprocess.run(
            [sys.executable, "-c", lines],
            cwd=here / "best",
            capture_output=True,
            text=True,
            check=True,
        )
        assert float(done.stdout.split()[-1]) == pytest.approx(cosine, abs=1e-5)
    modules = json.loads((here / "best/modules.json").read_text())
    assert [each["path"] for each in modules] == ["", "1_Pooling", "2_Normalize"]
    if find_spec("sentence_transformers") is None:
        return  # it is not among the requirements
    library = import_module("sentence_transformers")
    model = library.SentenceTransformer(str(here / "best"), device="cpu")
    vectors = torch.tensor(
        model.encode([row[name] for row in new for name in ("text", "text_pair")])
    )
    assert vectors.norm(dim=1).tolist() == pytest.approx([1] * 4, abs=1e-5)
    assert cosines(vectors[::2], vectors[1::2]).tolist() == pytest.approx(found, abs=1e-5)


def test_padding_changes_no_embedding(pairs: Path) -> None:
    from lightning_modules.batch.collate import Collate
    from lightning_modules.cache import Cache
    from lightning_modules.network import build_network, build_tokenizer

    words = ("task=similarity", "model=tiny", "model.kind=encoder", "strategy=full", "data=files")
    words = (*words, "task.pooling=mean", f"data.train={pairs}", "logger=none")
    run = build_run(compose("train", words).tree)
    rows = [
        {"text": "a hotel", "text_pair": "the novel and the kettle and the museum", "label": 1.0},
        {"text": "the kettle and the hotel and a novel", "text_pair": "a museum", "label": 0.0},
    ]
    tokenizer = build_tokenizer(run, rows, Cache())
    network = build_network(run, (), Cache(), tokenizer).eval()
    columns = run.task.encode(rows, tokenizer, 32, ())
    examples = [
        dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)
    ]
    collate = Collate(tokenizer)
    with torch.no_grad():
        both = run.task.forward(network, collate(examples))
        alone = [run.task.forward(network, collate([each])) for each in examples]
    for field in ("text", "text_pair"):
        for row in range(2):
            torch.testing.assert_close(both[field][row], alone[row][field][0], atol=1e-5, rtol=1e-4)


def test_an_adapter_alone_is_not_said_to_be_a_sentence_transformer(pairs: Path, here: Path) -> None:
    data = ("data=files", f"data.train={pairs}", "data.max_length=32", "logger=none")
    words = ("task=similarity", "model=tiny", "model.kind=encoder", "trainer.epochs=1")
    run_here("train", "run=alone", *words, *data, "strategy=prompt_tuning")
    run_here("export", "run=alone", "to=alone")
    assert (here / "alone/adapter").is_dir() and not (here / "alone/modules.json").exists()
    rows = [{"text": "the hotel 1", "text_pair": "a hotel 99"}]
    task = TASK.from_state({"low": 10.0, "high": 50.0})
    (found,) = load_exported(here / "alone", task).predict(rows)
    assert -1 <= found["prediction"] <= 1


def sentence_model(folder: Path, pooling: Any, **files: Any) -> Path:
    """Write a tiny encoder as sentence-transformers does, with more files."""
    tiny: Any = build_run(compose("train", ["model=tiny", "model.kind=encoder"]).tree).model
    tiny.load_tokenizer().save_pretrained(folder)
    tiny.load_network("AutoModel").save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    kinds |= {name: name.partition("_")[2] for name in files if name[0].isdigit()}
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds.items())
    ]
    others = {f"{n}/config" if n[0].isdigit() else n: content for n, content in files.items()}
    for name, content in {"modules": modules, "1_Pooling/config": pooling, **others}.items():
        (folder / f"{name}.json").parent.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


FLAGS = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": False}
CLS = {**FLAGS, "pooling_mode_cls_token": True}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (CLS, "cls"),
        ({"pooling_mode": "cls", "embedding_dimension": 32}, "cls"),  # as since version 5
        ({"pooling_mode": ["mean"]}, "mean"),
        ({**FLAGS, "pooling_mode_mean_sqrt_len_tokens": True}, "mean"),
        ({"word_embedding_dimension": 32}, "mean"),
    ],
)
@pytest.mark.parametrize("task", ["similarity", "retrieval"])
def test_a_sentence_transformers_own_pooling_is_trained(
    task: str, own: Any, expected: str, here: Path
) -> None:
    folder = sentence_model(here / "model", own)
    words = (f"task={task}", "model=hub", f"model.path={folder}")
    run = build_run(compose("train", words).tree)
    assert run.task.fit_to_model(run.model).state["pooling"] == expected
    typed = build_run(compose("train", [*words, "task.pooling=mean"]).tree)
    assert typed.task.fit_to_model(typed.model).state["pooling"] == "mean"


def test_a_pooling_that_cannot_be_trained_is_refused_before_training(
    pairs: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {**CLS, "pooling_mode_max_tokens": True}
    folder = sentence_model(here / "model", both)
    words = ["task=similarity", "model=hub", f"model.path={folder}", "data=files"]
    words += [f"data.train={pairs}", "logger=none", "trainer.max_steps=2"]
    assert main(["train", "run=x", *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].strip() == (
        f"task.pooling: must be mean or cls to train {folder}, which pools otherwise, got cls and "
        "max. Set task.pooling=mean, or choose another model."
    )
    both = {**FLAGS, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(both))
    assert main(["plan", "study=x", *words, "task.pooling=mean"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"task.pooling=mean is trained, but {folder} pools by max and mean" in said
    assert "leave task.pooling out" not in said  # which would be refused
    (folder / "1_Pooling/config.json").unlink()
    assert main(["train", "run=x", *words]) == 2
    assert "1_Pooling/config.json" in capsys.readouterr().err


def test_what_a_sentence_transformer_has_besides_is_said(
    pairs: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = {"prompts": {"query": "query: ", "document": ""}}
    others = {"2_Dense": {"out_features": 8}, "3_Normalize": {}}
    reader = {"do_lower_case": True}
    folder = sentence_model(
        here / "model",
        CLS,
        **others,
        config_sentence_transformers=prompts,
        sentence_bert_config=reader,
    )
    words = ["task=similarity", "model=hub", f"model.path={folder}", "data=files", "strategy=full"]
    words += [f"data.train={pairs}", "logger=none", "trainer.max_steps=2", "data.max_length=32"]
    for command in (["plan", "study=x"], ["train", "run=x"]):
        assert main([*command, *words]) == 0
        said = " ".join("".join(capsys.readouterr()).split())
        assert f"texts are embedded by task.pooling=cls, as {folder} does" in said
        assert (
            f"in sentence-transformers {folder} also has the module 2_Dense (Dense), prompts "
            "(query), lower case; training, predictions and exports leave that out" in said
        )
    run_here("export", "run=x", "to=best")
    pooling = json.loads((here / "best/1_Pooling/config.json").read_text())
    assert pooling["pooling_mode_cls_token"] and not pooling["pooling_mode_mean_tokens"]
    assert "states[:, 0]" in (here / "best/README.md").read_text()
    again = build_run(compose("train", ["task=similarity", "model=hub", "model.path=best"]).tree)
    assert again.task.fit_to_model(again.model).state["pooling"] == "cls"
    assert not any("sentence-transformers" in n for n in again.task.model_notes(again.model))
