from __future__ import annotations

import json
import random
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from seqeval.metrics import (
    accuracy_score,
    classification_report,
    f1_score,
    precision_score,
    recall_score,
)
from seqeval.scheme import IOB1, IOB2, IOBES

from lightning_modules.batch.collate import Collate
from lightning_modules.data.read import read_table
from lightning_modules.error import ConfigError, DataError
from lightning_modules.export.model import load_exported
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.model.kind import Kind
from lightning_modules.model.tiny import Tiny
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Corpus
from lightning_modules.task.base import Examples
from lightning_modules.task.metric.entity import (
    Entity,
    Scheme,
    detect_scheme,
    entities,
    flaw,
)
from lightning_modules.task.token_classification import TokenClassification
from lightning_modules.task.verdict import unlearnt
from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import run_here, write_jsonl
from tests.shared import DATA, needs

WNUT = DATA / "wnut17"
BIO = ("O", "B-person", "I-person", "B-place", "I-place")
BIOES = (
    "O",
    *(f"{prefix}-{kind}" for kind in ("person", "place") for prefix in "BIES"),
)


def make_task(**changes: Any) -> TokenClassification:
    values: dict[str, Any] = {"text": "tokens", "text_pair": None, "label": "ner_tags"}
    values |= {"metric": "entity_f1", "scheme": Scheme.auto}
    return TokenClassification(**{**values, **changes})


TASK = make_task()


def row(words: str, tags: str) -> dict[str, Any]:
    return {"text": words.split(), "label": tags.split()}


def corpus(*tags: str, **others: Sequence[str]) -> Corpus:
    splits = {"train": tags, **others}
    return Corpus({split: [row(each, each) for each in given] for split, given in splits.items()})


def examples_of(true: Sequence[Sequence[str]], labels: Sequence[str]) -> Examples:
    rows = [{"text": [f"w{n}" for n in range(len(tags))], "label": list(tags)} for tags in true]
    tokenizer: Any = None
    return Examples(rows, labels, tokenizer)


def observed_of(predicted: Sequence[Sequence[str]], labels: Sequence[str]) -> dict[str, Any]:
    longest = max(map(len, predicted))
    numbers = [[*map(labels.index, tags), *[-100] * (longest - len(tags))] for tags in predicted]
    return {"predicted_BW": torch.tensor(numbers, dtype=torch.int32)}


def well_formed(rng: random.Random, scheme: Scheme, num_words: int) -> list[str]:
    """Return random well-formed tags."""
    labels = BIOES if scheme is Scheme.bioes else BIO
    while True:
        tags: list[str] = []
        while len(tags) < num_words:
            left = [tag for tag in labels if flaw([*tags, tag], Scheme.iob1) is None]
            left = left if scheme is Scheme.iob1 else list(labels)
            tags.append(rng.choice(left))
        if flaw(tags, scheme) is None:
            return tags


@pytest.mark.parametrize("scheme", [Scheme.bio, Scheme.bioes, Scheme.iob1])
@pytest.mark.parametrize("seed", range(3))
def test_the_metrics_equal_those_of_seqeval(scheme: Scheme, seed: int) -> None:
    rng = random.Random(seed)
    labels = BIOES if scheme is Scheme.bioes else BIO
    true = [well_formed(rng, scheme, rng.randint(1, 5)) for _ in range(60)]
    # Half of the sentences are correct, the others random and possibly malformed.
    predicted = [tags if rng.random() < 0.5 else rng.choices(labels, k=len(tags)) for tags in true]
    strict: dict[str, Any] = {"mode": "strict", "scheme": IOBES} if labels is BIOES else {}
    examples, observed = examples_of(true, labels), observed_of(predicted, labels)
    scores = TASK.score(observed, examples)
    assert set(scores) == set(TASK.directions)
    assert scores == pytest.approx(
        {
            "entity_f1": f1_score(true, predicted, **strict),
            "entity_precision": precision_score(true, predicted, **strict),
            "entity_recall": recall_score(true, predicted, **strict),
            "token_accuracy": accuracy_score(true, predicted),
        },
        abs=1e-6,
    )
    report = classification_report(true, predicted, output_dict=True, **strict)
    for record in TASK.tables(observed, examples)["per_type"]:
        expected = report[record["type"]]
        assert record["f1"] == pytest.approx(expected["f1-score"], abs=1e-6)
        for key in ("precision", "recall", "support"):
            assert record[key] == pytest.approx(expected[key], abs=1e-6)


@pytest.mark.parametrize(
    ("scheme", "strict"),
    [(Scheme.bio, IOB2), (Scheme.bioes, IOBES), (Scheme.iob1, IOB1)],
)
def test_well_formed_tags_have_the_entities_of_seqeval_in_strict_mode(
    scheme: Scheme, strict: Any
) -> None:
    from seqeval.scheme import Entities

    rng = random.Random(1)
    labels = BIOES if scheme is Scheme.bioes else BIO
    for _ in range(100):
        tags = well_formed(rng, scheme, rng.randint(1, 6))
        (expected,) = Entities([tags], strict).entities
        found = entities(tags, labels)
        assert found == sorted(Entity(each.start, each.end, each.tag) for each in expected)


def test_entity_types_may_contain_dashes_without_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = entities(["B-creative-work", "I-creative-work"], ["O", "B-creative-work"])
        single = entities(["S-creative-work"], ["O", "S-creative-work"])
    assert found == [Entity(0, 2, "creative-work")] and single == [Entity(0, 1, "creative-work")]


def test_finding_no_entities_scores_0() -> None:
    scores = TASK.score(observed_of([["O", "O"]], BIO), examples_of([["B-person", "O"]], BIO))
    assert scores == {
        "entity_f1": 0,
        "entity_precision": 0,
        "entity_recall": 0,
        "token_accuracy": 0.5,
    }


@pytest.mark.parametrize(
    ("tags", "scheme", "why"),
    [
        ("O I-x", Scheme.bio, "word 2 has I-x with no B-x or I-x before it"),
        ("B-x I-y", Scheme.bio, "word 2 has I-y with no B-y or I-y before it"),
        ("O PER", Scheme.bio, "word 2 has 'PER' instead of O, B-TYPE, I-TYPE"),
        ("B- O", Scheme.bio, "word 1 has 'B-' instead of O, B-TYPE, I-TYPE"),
        ("S-x", Scheme.bio, "word 1 has 'S-x' instead of O, B-TYPE, I-TYPE"),
        ("B-x O", Scheme.bioes, "word 2 has O but the B-x before it must be continued"),
        ("B-x E-y", Scheme.bioes, "word 2 has E-y but the B-x before it must be continued"),
        ("O B-x", Scheme.bioes, "word 2 has B-x, but the entity never ends"),
        ("E-x", Scheme.bioes, "word 1 has E-x with no B-x or I-x before it"),
        (
            "O B-x",
            Scheme.iob1,
            "word 2 has B-x with no entity of type x directly before it",
        ),
        ("B-x I-x B-x O B-y", Scheme.bio, None),
        ("B-x I-x E-x S-y O", Scheme.bioes, None),
        ("I-x I-x B-x I-y", Scheme.iob1, None),
    ],
)
def test_malformed_tags_are_described(tags: str, scheme: Scheme, why: str | None) -> None:
    assert flaw(tags.split(), scheme) == why


@pytest.mark.parametrize(
    ("scheme", "words", "tags", "rule"),
    [
        ("auto", "a b", "O", "must have one tag for each of the 2 words, but has 1"),
        (
            "bio",
            "a b",
            "O I-x",
            "must be well-formed bio tags: word 2 has I-x with no B-x or I-x before it",
        ),
        (
            "auto",
            "a b c d",
            "B-x O I-y I-x",
            "must be well-formed bio tags: word 3 has I-y with no B-y or I-y before it",
        ),
        (
            "auto",
            "a b",
            "S-x B-x",
            "must be well-formed bioes tags: word 2 has B-x, but the entity never ends",
        ),
        ("iob1", "a", "B-x", None),
        ("auto", "a b", "I-x O", None),
        ("auto", "a b", "B-x O", None),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(
    scheme: str, words: str, tags: str, rule: str | None, here: Path
) -> None:
    lines = [
        {"tokens": ["fine"], "ner_tags": ["O"]},
        {"tokens": words.split(), "ner_tags": tags.split()},
    ]
    path = write_jsonl(here / "a.jsonl", lines)
    task = make_task(scheme=Scheme(scheme))
    columns = {"text": "tokens", "label": "ner_tags"}
    if scheme == "iob1":
        rule = "must be well-formed iob1 tags: word 1 has B-x with no entity of type x directly"
    if rule is None:
        assert len(read_table(path, "data.train").read(columns, task.cells, task.check_row)) == 2
        return
    with pytest.raises(DataError) as raised:
        read_table(path, "data.train").read(columns, task.cells, task.check_row)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{path}:2:ner_tags: {rule}")


@pytest.mark.parametrize("given", [[1, 2], {"a": 1}, "O O", 3, [None]])
def test_a_cell_that_is_not_a_list_of_tags_is_refused(given: Any) -> None:
    refused = cell.tags(given)
    assert isinstance(refused, cell.Refused)
    assert refused.rule == "must be a list of tags, all of them text"


@pytest.mark.parametrize(
    ("tags", "labels"),
    [
        (("B-x O", "B-y I-y"), ("O", "B-x", "I-x", "B-y", "I-y")),
        (("I-x O", "I-x B-x"), ("O", "B-x", "I-x")),
        (("S-x O", "B-x E-x"), ("O", "B-x", "I-x", "E-x", "S-x")),
    ],
)
def test_labels_are_o_and_all_tags_of_the_scheme_for_each_type(
    tags: Sequence[str], labels: Sequence[str]
) -> None:
    assert TASK.labels(corpus(*tags)) == labels


def test_rows_with_different_schemes_are_refused() -> None:
    with pytest.raises(DataError, match="all rows must use the same tagging scheme, got several"):
        TASK.labels(corpus("B-x O", "O I-x"))


def test_entity_types_missing_from_train_are_refused() -> None:
    with pytest.raises(DataError) as raised:
        TASK.labels(corpus("B-person", validation=["B-persn"], test=["O"]))
    assert str(raised.value) == (
        "data.label: every entity type of validation must be in the training rows, got 'persn'. "
        "Did you mean person?"
    )
    with pytest.raises(DataError, match="must have an entity, got only the tag O"):
        TASK.labels(corpus("O O"))
    with pytest.raises(DataError, match="the model's labels O, B-person"):
        TASK.check_known([row("a", "B-place")], BIO[:3])


TOKENIZER = Tiny(kind=Kind.encoder, width=8, num_layers=1, num_heads=1).load_tokenizer()


def test_the_first_token_of_a_word_represents_it() -> None:
    words = ["hotel", "\ufe0f", "train!", "\u200btrain", "good", "museum"]
    rows = [{"text": words, "label": ["B-place", "O", "O", "O", "I-place", "O"]}]
    columns = TASK.encode(rows, TOKENIZER, 8, BIO)
    tokens = TOKENIZER.convert_ids_to_tokens(columns["input_ids"][0])
    assert tokens == ["[CLS]", "hotel", "train", "!", "train", "good", "museum", "[SEP]"]
    assert columns["starts"] == [[1, -100, 2, 4, 5, 6]]
    assert columns["labels"] == [[3, 0, 0, 0, 4, 0]]
    cut = TASK.encode(rows, TOKENIZER, 5, BIO)
    assert cut["starts"] == [[1, -100, 2, -100, -100, -100]]
    assert "labels" not in TASK.encode([{"text": words}], TOKENIZER, 8, BIO)


def test_a_byte_tokenizer_finds_the_same_words() -> None:
    tokenizer = train_tokenizer(["Zoë left Oslo"], Vocabulary.bpe, 300, Kind.encoder)
    words = ["Zoë", "\ufe0f", "left", "Oslo"]
    columns = TASK.encode([{"text": words}], tokenizer, 64, BIO)
    text = " ".join(words)
    for word, start in zip(words, columns["starts"][0], strict=True):
        (begin, end) = tokenizer(text, return_offsets_mapping=True)["offset_mapping"][start]
        assert begin <= text.index(word) < end


def batch_of(rows: Sequence[dict[str, Any]], side: str = "right") -> dict[str, torch.Tensor]:
    tokenizer = Tiny(kind=Kind.encoder, width=8, num_layers=1, num_heads=1).load_tokenizer()
    tokenizer.padding_side = side
    columns = TASK.encode(rows, tokenizer, 8, BIO)
    return Collate(tokenizer)(
        [{name: column[n] for name, column in columns.items()} for n in range(len(rows))]
    )


ROWS = [
    row("good hotel train museum good hotel", "O B-place I-place O O O"),
    row("train! \ufe0f museum", "B-person O O"),
]


def test_the_loss_covers_only_first_tokens() -> None:
    batch = batch_of(ROWS)
    logits_BTC = torch.randn(*batch["input_ids"].shape, 5, generator=torch.Generator())
    places = [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (1, 1), (1, 3)]
    chosen_NC = torch.stack([logits_BTC[place] for place in places])
    expected = torch.nn.functional.cross_entropy(chosen_NC, torch.tensor([0, 3, 4, 0, 0, 0, 1, 0]))
    output = SimpleNamespace(logits=logits_BTC)
    assert TASK.num_targets(batch) == 8
    mean = TASK.loss_sum(output, batch) / TASK.num_targets(batch)
    assert mean.item() == pytest.approx(expected.item(), rel=1e-5)
    predicted = TASK.observe(None, output, batch)["predicted_BW"]
    assert predicted[0].tolist() == chosen_NC[:6].argmax(1).tolist()
    assert predicted[1, :3].tolist() == [int(chosen_NC[6].argmax()), 0, int(chosen_NC[7].argmax())]


def test_a_text_without_tokens_has_loss_0_and_is_predicted_o() -> None:
    batch = batch_of([row("\ufe0f", "B-place")])
    output = SimpleNamespace(logits=torch.randn(1, 2, 5, requires_grad=True))
    loss = TASK.loss_sum(output, batch) / TASK.num_targets(batch)
    assert loss.item() == 0
    assert TASK.observe(None, output, batch)["predicted_BW"].tolist() == [[0]]


def test_decoding_returns_tags_and_entities_with_word_positions() -> None:
    rows = [{"text": ["Anna", "Berg", "left", "Oslo"]}, {"text": ["No"]}]
    observed = observed_of([["B-person", "I-person", "O", "I-place"], ["O"]], BIO)
    one, none = TASK.decode(observed, Examples(rows, BIO, TOKENIZER))
    assert one == {
        "prediction": ["B-person", "I-person", "O", "I-place"],
        "entities": [
            {"type": "person", "text": "Anna Berg", "start": 0, "end": 2},
            {"type": "place", "text": "Oslo", "start": 3, "end": 4},
        ],
    }
    assert none == {"prediction": ["O"], "entities": []}


def test_mistakes_are_sorted_by_missed_and_spurious_entities() -> None:
    rows = [
        row("all right", "O O"),
        row("Anna left", "B-person O"),
        row("Anna Berg left Oslo", "B-person I-person O B-place"),
    ]
    predicted = [["O", "O"], ["O", "O"], ["B-person", "O", "O", "B-place"]]
    tables = TASK.tables(observed_of(predicted, BIO), Examples(rows, BIO, TOKENIZER))
    assert json.loads(json.dumps(tables)) == tables
    assert tables["mistakes"] == [
        {
            "text": "Anna Berg left Oslo",
            "missed": "Anna Berg (person)",
            "spurious": "Anna (person)",
            "num_wrong": 2,
        },
        {"text": "Anna left", "missed": "Anna (person)", "spurious": "", "num_wrong": 1},
    ]
    assert TASK.constant_prediction(tables) is None
    silent = TASK.tables(observed_of([["O"]], BIO), examples_of([["B-place"]], BIO))
    assert TASK.constant_prediction(silent) == "predicts no entity in any row"


def test_only_token_accuracy_has_a_baseline() -> None:
    rows = [row("a b c d", "O O O B-x")]
    assert TASK.baseline(rows) is None
    found = make_task(metric="token_accuracy").baseline(rows)
    assert found is not None and (found.guess, found.score) == ("always 'O'", 0.75)


@pytest.fixture
def tagged(here: Path) -> Path:
    """Write sentences that the tiny random model can learn: two words are always entities."""
    rng = random.Random(0)
    tags = {"hotel": "B-place", "novel": "B-work", "the": "O", "good": "O", "and": "O"}
    rows = []
    for _ in range(200):
        words = rng.choices(list(tags), k=rng.randint(2, 8))
        rows.append({"tokens": words, "ner_tags": [tags[word] for word in words]})
    return write_jsonl(here / "tagged.jsonl", rows)


STRATEGIES = ["full", "lora", "feature_extraction", "from_scratch"]


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns_and_plain_transformers_predicts_the_same_tags(
    strategy: str, tagged: Path, here: Path
) -> None:
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    words = ["model=tiny", "logger=none", f"strategy={strategy}", "strategy.lr=1e-2"]
    words += ["strategy.lr_max=1", "trainer.epochs=4", "trainer.validations_per_epoch=1"]
    data = ["task=token_classification", "data=files", f"data.train={tagged}"]
    run = build_run(compose("train", [*words, *data]).tree)
    outcome = fit(run, here / "run", Identity("x", None, here))
    assert outcome.best is not None and outcome.best.metrics["entity_f1"] > 0.9
    result = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    export(result, here / "best")
    rows = [{"text": ["the", "hotel", "\ufe0f", "novel", "unheard"]}, {"text": ["and"]}]
    ours = result.load().predict(rows)
    assert ours[0]["entities"][0]["text"] == "hotel"
    assert load_exported(here / "best", run.task).predict(rows) == ours
    network = AutoModelForTokenClassification.from_pretrained(here / "best").eval()
    tokenizer = AutoTokenizer.from_pretrained(here / "best")
    plain = []
    for each in rows:
        inputs = tokenizer(" ".join(each["text"]), return_tensors="pt")
        found = network(**inputs).logits[0].argmax(-1).tolist()
        begins = [len(" ".join([*each["text"][:n], ""])) for n in range(len(each["text"]))]
        tokens = [inputs.char_to_token(begin) for begin in begins]
        names = network.config.id2label
        plain.append(["O" if token is None else names[found[token]] for token in tokens])
    assert plain == [each["prediction"] for each in ours]
    if strategy == "lora":
        settings = json.loads((here / "best/adapter/adapter_config.json").read_text())
        assert settings["task_type"] == "TOKEN_CLS"
    if strategy == "full":
        _check_commands(here)


def _check_commands(here: Path) -> None:
    """Run the model card's code, and predict on a CoNLL file with only words."""
    code = (here / "best/README.md").read_text(encoding="utf-8").split("```python\n")[1]
    lines = code.split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=here / "best", capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "Anna",
        "Berg",
        "left",
        "Oslo",
    ]
    (here / "new.conll").write_text("the\nhotel\n\nand\n", encoding="utf-8")
    run_here("predict", "model=best", "input=new.conll", "output=out.jsonl")
    found = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert found[0]["prediction"] == ["O", "B-place"] and len(found) == 2
    assert found[0]["tokens"] == ["the", "hotel"]


def test_a_decoder_predicts_the_same_tags_with_either_padding_side() -> None:
    """Padding must not shift the words; positions count from the first real token."""
    tiny = Tiny(kind=Kind.decoder, width=8, num_layers=1, num_heads=1)
    torch.manual_seed(0)
    network = tiny.load_network(TASK.auto_class, **TASK.config(BIO)).eval()
    found = []
    for side in ("left", "right"):
        batch = batch_of(ROWS, side)
        mask = batch["attention_mask"]
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        output = network(input_ids=batch["input_ids"], attention_mask=mask, position_ids=positions)
        found.append(TASK.observe(network, output, batch)["predicted_BW"])
    assert torch.equal(*found)


@needs(WNUT)
def test_all_of_wnut_is_read_including_invisible_words() -> None:
    run = build_run(
        compose(
            "train",
            [
                *("task=token_classification", "data=files", "model=minilm"),
                *(f"data.{split}={WNUT}/{split}.jsonl" for split in ("train", "validation")),
                f"data.test={WNUT}/test.jsonl",
            ],
        ).tree
    )
    corpus = run.data.load(run.task)
    labels = run.task.labels(corpus)
    assert len(labels) == 13 and labels[0] == "O"
    splits = {
        split: sum(len(entities(row["label"], labels)) for row in rows)
        for split, rows in corpus.splits.items()
    }
    assert splits == {"train": 1975, "validation": 836, "test": 1079}
    rows = corpus.splits["test"]
    columns = run.task.encode(rows, run.model.load_tokenizer(), 512, labels)
    silent = [
        word
        for row, starts in zip(rows, columns["starts"], strict=True)
        for word, start in zip(row["text"], starts, strict=True)
        if start < 0
    ]
    assert set(silent) == {"\ufe0f"} and len(silent) == 3


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean entity_f1\?"):
        make_task(metric="entity_f")


def test_a_tokenizer_without_offsets_is_refused() -> None:
    from transformers import CanineTokenizer

    task = build_run(compose("train", ["task=token_classification"]).tree).task
    with pytest.raises(ConfigError) as raised:
        task.encode([{"text": ["New", "York"]}], CanineTokenizer(), 16, ("O",))
    line = "model: token classification must know which characters belong to each token, got Canine"
    assert str(raised.value).startswith(line)


def test_no_entity_found_is_the_score_of_a_constant_guess() -> None:
    examples = examples_of([["O", "B-place"]], BIO)
    assert unlearnt(TASK, {"entity_f1": 0.0}, examples) == (
        "has not learnt: its entity_f1 of 0 is that of always 'O'"
    )
    assert unlearnt(TASK, {"entity_f1": 0.1}, examples) is None


@pytest.mark.parametrize("tag", ["BI-PER", "ES-PER", "IES-LOC", "BIES-LOC"])
@pytest.mark.parametrize("scheme", [Scheme.bio, Scheme.bioes, Scheme.iob1])
def test_a_part_of_the_prefixes_is_no_prefix(tag: str, scheme: Scheme) -> None:
    prefix = tag.partition("-")[0]
    expected = f"word 2 has {tag!r}, and {prefix} is no prefix of BIO, BIOES or IOB1"
    assert flaw(["O", tag], scheme) == expected
    assert flaw(["O", tag], Scheme.plain) is not None


PARTS = ["DET", "NN", "NN-TL", "-LRB-", "PRP$"]


def test_parts_of_speech_are_tags_without_a_prefix() -> None:
    assert detect_scheme([PARTS, ["O"]]) is Scheme.plain
    assert detect_scheme([["O", "O"]]) is Scheme.bio
    found = entities(["DET", "O", "NN"], ["O", *PARTS])
    assert found == [Entity(0, 1, "DET"), Entity(2, 3, "NN")]
