from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_modules.batch.collate import Collate
from lightning_modules.check import check_run
from lightning_modules.data.files import Files
from lightning_modules.error import ConfigError, DataError
from lightning_modules.export.model import load_exported
from lightning_modules.export.predictor import Predictor
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.rows.corpus import Row
from lightning_modules.run import Run
from lightning_modules.task.base import Examples
from lightning_modules.task.metric.squad import f1
from lightning_modules.task.question_answering import QuestionAnswering
from lightning_modules.task.verdict import unlearnt
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import run_here, write_jsonl
from tests.shared import DATA, needs

SQUAD = DATA / "squad_small"
ADJECTIVES = ("great", "awful", "boring", "lovely", "cheap", "poor")
FILLERS = ("the", "hotel", "and", "novel", "with", "kettle", "in", "museum", "train", "shoes")
TINY = (
    "task=question_answering",
    "model=tiny",
    "data=files",
    "data.train=none.jsonl",
    "strategy=full",
    "data.test_fraction=0",
    "logger=none",
    "trainer.precision=fp32",
    "trainer.validations_per_epoch=1",
)


def make_run(*words: str) -> Run:
    return build_run(compose("train", [*TINY, *words]).tree)


def qa(**changes: Any) -> QuestionAnswering:
    task = make_run().task
    assert isinstance(task, QuestionAnswering)
    return replace(task, **changes)


def question(context: str, *answers: str, asked: str = "How was it?") -> dict[str, Any]:
    starts = [context.index(answer) for answer in answers]
    return {
        "context": context,
        "question": asked,
        "answers": {"text": list(answers), "answer_start": starts},
    }


def row_of(context: str, *answers: str, asked: str = "How was it?") -> Row:
    given = question(context, *answers, asked=asked)
    return {"text": context, "text_pair": asked, "label": given["answers"]}


def adjectives(num_rows: int, num_words: int, none: float = 0.0) -> list[dict[str, Any]]:
    """Return questions whose answer is the only word of `ADJECTIVES` in the context."""
    rng = random.Random(0)
    rows = []
    for _ in range(num_rows):
        words = rng.choices(FILLERS, k=num_words)
        answer = rng.choice(ADJECTIVES)
        has_answer = rng.random() >= none
        if has_answer:
            words[rng.randrange(num_words)] = answer
        rows.append(question("  " + " ".join(words), *([answer] if has_answer else [])))
    return rows


@pytest.fixture
def trained(here: Path) -> Callable[..., Trained]:
    def make(rows: Sequence[dict[str, Any]], *words: str) -> Trained:
        train = write_jsonl(here / "train.jsonl", rows)
        run = make_run(f"data.train={train}", *words)
        outcome = fit(run, here / "run", Identity("x", None, here))
        assert outcome.best is not None
        return Trained(run, here / "run", "run x", outcome.best.metrics, "")

    return make


def tiny_predictor(run: Run, max_length: int = 24) -> Predictor:
    from lightning_modules.cache import Cache
    from lightning_modules.network import build_network, build_tokenizer

    tokenizer = build_tokenizer(run, (), Cache())
    network = build_network(run, (), Cache(), tokenizer).eval()
    return Predictor(network, tokenizer, run.task, (), max_length)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return tiny_predictor(make_run())


def _rows_of(columns: Mapping[str, Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    return zip(*columns.values(), strict=True)


def batch_of(predictor: Predictor, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    columns = predictor.task.encode(rows, predictor.tokenizer, predictor.max_length, ())
    examples = [dict(zip(columns, cells, strict=True)) for cells in _rows_of(columns)]
    return Collate(predictor.tokenizer)(examples)


LONG = row_of("a great film " + "with the hotel and the museum " * 8 + "and a poor end", "poor")


def test_each_window_has_its_row_and_the_position_of_the_answer(predictor: Predictor) -> None:
    words = ("with the hotel and the museum " * 8).split()
    rows = [row_of("It was great.", "great")]
    for place in range(len(words)):
        rows.append(row_of(" ".join([*words[:place], "poor", *words[place:]]), "poor"))
    columns = predictor.task.encode(rows, predictor.tokenizer, 24, ())
    assert {len(values) for values in columns.values()} == {len(columns["row"])}
    assert columns["row"] == sorted(columns["row"]) and columns["row"].count(0) == 1
    assert {columns["row"].count(row) for row in range(1, len(rows))} == {5}
    places = list(zip(columns["start_positions"], columns["end_positions"], strict=True))
    for number, (first, last) in enumerate(places):
        context = rows[columns["row"][number]]["text"]
        begin, end = columns["context_start"][number][first], columns["context_end"][number][last]
        read = range(
            min(place for place in columns["context_start"][number] if place >= 0),
            max(columns["context_end"][number]),
        )
        (answer,) = rows[columns["row"][number]]["label"]["text"]
        start = context.index(answer)
        if start in read and start + len(answer) - 1 in read:
            assert context[begin:end] == answer
        else:
            assert (first, last) == (0, 0) and begin == end == -100
    answered = [row for row, found in zip(columns["row"], places, strict=True) if found != (0, 0)]
    # Every answer is in at least one window, and some are in two.
    assert set(answered) == set(range(len(rows))) and len(answered) > len(rows)


def test_rows_without_labels_have_no_targets(predictor: Predictor) -> None:
    unlabelled = {name: cell for name, cell in LONG.items() if name != "label"}
    columns = predictor.task.encode([unlabelled], predictor.tokenizer, 24, ())
    assert not {"start_positions", "end_positions"} & set(columns)
    assert {*predictor.task.inputs(columns)} == {"input_ids", "attention_mask"}


def test_a_long_question_leaves_half_of_the_window(predictor: Predictor) -> None:
    rows = [row_of("It was great.", "great", asked="How was the hotel? " * 50)]
    columns = predictor.task.encode(rows, predictor.tokenizer, 24, ())
    assert [sum(place >= 0 for place in starts) for starts in columns["context_start"]] == [4]
    assert len(columns["input_ids"][0]) == 3 + 10 + 4


def test_a_max_length_that_is_too_small_is_refused(predictor: Predictor) -> None:
    assert predictor.task.encode([LONG], predictor.tokenizer, 5, ())["row"]
    with pytest.raises(ConfigError) as raised:
        predictor.task.encode([LONG], predictor.tokenizer, 4, ())
    assert str(raised.value) == (
        "data.max_length: must be >= 5, for a question and a context, got 4."
    )


def test_a_tokenizer_without_offsets_is_refused() -> None:
    slow: Any = SimpleNamespace(is_fast=False)
    with pytest.raises(ConfigError, match="model: question answering must know which characters"):
        qa().encode([LONG], slow, 24, ())


def test_the_loss_equals_that_of_transformers(predictor: Predictor) -> None:
    rows = [row_of("It was great, he said.", "great", "great, he"), row_of("It was so.")]
    for each in rows:  # one at a time: transformers does not exclude padding
        batch = batch_of(predictor, [each])
        output = predictor.task.forward(predictor.network, batch)
        ours = predictor.task.loss_sum(output, batch) / predictor.task.num_targets(batch)
        targets = {name: batch[name] for name in ("start_positions", "end_positions")}
        theirs = predictor.network(**predictor.task.inputs(batch), **targets)
        torch.testing.assert_close(ours, theirs.loss)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_nothing(side: str) -> None:
    predictor = tiny_predictor(make_run(), 200)
    predictor.tokenizer.padding_side = side
    short = row_of("It was great, he said.", "great")
    task, found = predictor.task, []
    for rows in ([short], [short, LONG]):
        batch = batch_of(predictor, rows)
        if side == "left":  # positions count from the first token, as in XLNet
            places = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
            output = predictor.network(**task.inputs(batch), position_ids=places)
        else:
            output = task.forward(predictor.network, batch)
        kept = task.observe(predictor.network, output, batch)
        first = {name: tensor[:1] for name, tensor in batch.items()}
        logits = SimpleNamespace(
            start_logits=output.start_logits[:1], end_logits=output.end_logits[:1]
        )
        found.append((task.loss_sum(logits, first), kept["score_BK"][0], kept["start_BK"][0]))
    torch.testing.assert_close(found[0], found[1])


def test_spans_are_in_the_context_and_not_too_long(predictor: Predictor) -> None:
    task = replace(predictor.task, max_answer_tokens=2, num_best=500)
    rows = [LONG, row_of("great", "great")]
    found = replace(predictor, task=task)._observe(rows, predictor.precision, task.encode)
    for row, starts, ends in zip(
        *(found[name].tolist() for name in ("row_B", "start_BK", "end_BK")), strict=True
    ):
        spans = [span for span in zip(starts, ends, strict=True) if span[0] >= 0]
        words = [rows[row]["text"][start:end].split() for start, end in spans]
        assert spans and all(1 <= len(each) <= 2 for each in words)
        assert {word for each in words for word in each} <= set(rows[row]["text"].split())


def test_scores_of_a_half_precision_network_are_in_float32(predictor: Predictor) -> None:
    batch = batch_of(predictor, [LONG])
    output = predictor.task.forward(predictor.network, batch)
    half = SimpleNamespace(
        start_logits=output.start_logits.bfloat16(), end_logits=output.end_logits.bfloat16()
    )
    assert predictor.task.loss_sum(half, batch).dtype == torch.float32
    kept = predictor.task.observe(None, half, batch)
    assert {kept["score_BK"].dtype, kept["null_B"].dtype} == {torch.float32}


# The answers of two rows: " great" and nothing.
OBSERVED = {
    "row_B": torch.tensor([0, 1]),
    "start_BK": torch.tensor([[7], [0]]),
    "end_BK": torch.tensor([[12], [2]]),
    "score_BK": torch.tensor([[3.0], [1.0]]),
    "null_B": torch.tensor([0.0, 5.0]),
}
PAIR = (row_of("It was great.", "great"), row_of("It was so."))


def test_answers_are_decoded_and_scored() -> None:
    task, examples = qa(null_threshold=0.0), Examples(PAIR, (), None)  # type: ignore[arg-type]
    answered, nothing = task.decode(OBSERVED, examples)
    assert answered == {"prediction": "great", "start": 7, "end": 12, "score": 0.952574}
    assert nothing == {"prediction": "", "start": None, "end": None, "score": 0.982014}
    assert task.score(OBSERVED, examples) == {"exact_match": 1, "f1": 1}
    assert task.tables(OBSERVED, examples) == {"mistakes": []}
    always = qa(null_threshold=None)
    assert always.score(OBSERVED, examples) == {"exact_match": 0.5, "f1": 0.5}
    assert set(always.score(OBSERVED, examples)) == set(always.directions)


def test_mistakes_are_sorted_worst_first_with_an_excerpt_of_the_context() -> None:
    filler = "word " * 60
    rows = [row_of(f"{filler}It was great fun. {filler}", "great"), row_of("It was so.", "so")]
    at = rows[0]["text"].index("great")
    observed = OBSERVED | {
        "start_BK": torch.tensor([[at], [0]]),
        "end_BK": torch.tensor([[at + 9], [2]]),
    }
    tables = qa().tables(observed, Examples(rows, (), None))  # type: ignore[arg-type]
    assert json.loads(json.dumps(tables)) == tables  # plain values
    worst, other = tables["mistakes"]
    assert worst == {
        "question": "How was it?",
        "prediction": "It",
        "answers": "so",
        "f1": 0,
        "score": 1,
        "context": "It was so.",
    }
    assert other["f1"] == pytest.approx(2 / 3, abs=1e-6)
    assert other["context"].startswith("…") and other["context"].endswith("…")
    assert "It was great fun." in other["context"] and len(other["context"]) < 220


def test_the_baseline_is_the_better_of_whole_context_and_no_answer() -> None:
    rows = [row_of("It was so great", "so great"), row_of("great", "great")]
    found = qa().baseline(rows)
    assert found is not None and found.guess == "always the whole context"
    assert found.score == pytest.approx((2 / 3 + 1) / 2)
    found = qa(metric="exact_match").baseline([*PAIR, row_of("It was so great", "so great")])
    assert found is not None and (found.guess, found.score) == ("never an answer", 1 / 3)


def files(train: str) -> Files:
    data = make_run(f"data.train={train}").data
    assert isinstance(data, Files)
    return data


@pytest.mark.parametrize(
    ("start", "end_of_line"),
    [
        (5, "got 's gre'. Set answer_start=7."),
        (700, "got ''. Set answer_start=7."),
    ],
)
def test_an_answer_at_the_wrong_start_is_refused_with_the_right_one(
    start: int, end_of_line: str
) -> None:
    rows = [question("It was great.", "great") for _ in range(3)]
    rows[1]["answers"] = {"text": ["great"], "answer_start": [start]}
    write_jsonl(Path("mine.jsonl"), rows)
    with pytest.raises(DataError) as raised:
        files("mine.jsonl").load(qa())
    assert str(raised.value) == (
        f"mine.jsonl:2:answers: the answer 'great' must be at answer_start={start}, {end_of_line}"
    )


@pytest.mark.parametrize(
    ("context", "fix"),
    [
        ("It was so.", "The context does not contain it: correct the text of the answer."),
        (
            " great great",
            "The context contains it more than once: set answer_start to the right place.",
        ),
        (" Great great", "Set answer_start=7."),
    ],
)
def test_the_fix_gives_the_position_of_the_answer(context: str, fix: str) -> None:
    answers = {"text": ["great"], "answer_start": [0]}
    found = qa().check_row({"text": context, "text_pair": "How?", "label": answers})
    assert found is not None and found[1].fix == fix


def test_space_before_a_context_does_not_shift_positions() -> None:
    write_jsonl(Path("mine.jsonl"), [question(f"  It was great {n}.", "great") for n in range(4)])
    rows = files("mine.jsonl").load(qa()).splits["train"]
    assert all(row["text"].startswith("  It") for row in rows)


def test_questions_without_answers_require_a_null_threshold() -> None:
    write_jsonl(Path("mine.jsonl"), adjectives(20, 5, none=0.5))
    with pytest.raises(DataError) as raised:
        files("mine.jsonl").load(qa())
    (line,) = str(raised.value).splitlines()
    assert line.startswith("task.null_threshold: must be a number if questions lack answers (")
    fix = "Set task.null_threshold=0, or remove the questions without an answer."
    assert line.endswith(f"got None. {fix}")
    assert files("mine.jsonl").load(qa(null_threshold=0.0)).splits["train"]


def test_all_questions_about_a_context_go_to_one_split() -> None:
    rows = [
        question(f"Hotel {number // 4} was great.", "great", asked=f"How was it, {number}?")
        for number in range(80)
    ]
    write_jsonl(Path("mine.jsonl"), rows)
    splits = files("mine.jsonl").load(qa()).splits
    contexts = [{row["text"] for row in splits[name]} for name in ("train", "validation")]
    assert not contexts[0] & contexts[1] and len(contexts[1]) == 3


def test_invalid_settings_are_reported() -> None:
    with pytest.raises(ConfigError) as raised:
        qa(doc_stride=-1, max_answer_tokens=0, num_best=0, max_question_tokens=0)
    assert {problem.where for problem in raised.value.problems} == {
        "doc_stride",
        "max_answer_tokens",
        "num_best",
        "max_question_tokens",
    }


def test_frozen_features_are_refused() -> None:
    write_jsonl(Path("mine.jsonl"), adjectives(20, 5))
    run = make_run("data.train=mine.jsonl", "strategy=feature_extraction")
    with pytest.raises(ConfigError, match="feature_extraction needs a task") as error:
        check_run(run)
    assert len(str(error.value).splitlines()) == 1


def plain_answers(folder: Path, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Answer in this process, using only the code of the model card."""
    code = (folder / "README.md").read_text(encoding="utf-8")
    code = code.split("```python\n")[1].split("```")[0]
    found: list[str] = []
    for row in rows:
        given = f"question, context = {row['question']!r}, {row['context']!r}"
        lines = [given if line.startswith("question, ") else line for line in code.splitlines()]
        text = "\n".join(lines).replace('from_pretrained(".")', f"from_pretrained({str(folder)!r})")
        exec(text, {"print": found.append})
    return found


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "floor"),
    [
        (("strategy=full", "strategy.lr=3e-3"), 0.9),
        (("strategy=lora", "strategy.lr=3e-2"), 0.6),
        (("strategy=from_scratch", "strategy.lr=3e-3", "strategy.tokenizer=bpe"), 0.6),
        (("strategy=full", "strategy.lr=3e-3", "model.kind=decoder"), 0.6),
        (("strategy=full", "strategy.lr=3e-3", "model.kind=encoder_decoder"), 0.6),
    ],
    ids=["full", "lora", "from_scratch", "decoder", "encoder_decoder"],
)
def test_training_learns_and_plain_transformers_gives_the_same_answers(
    trained: Callable[..., Trained], here: Path, words: tuple[str, ...], floor: float
) -> None:
    rows = adjectives(320, 10)
    result = trained(rows, "trainer.epochs=6", *words)
    assert result.scores["f1"] >= floor
    export(result, here / "best")
    questions = rows[:12]
    texts = [{"text": row["context"], "text_pair": row["question"]} for row in questions]
    ours = result.load().predict(texts)
    assert load_exported(here / "best", result.run.task).predict(texts) == ours
    for row, answer in zip(questions, ours, strict=True):
        assert row["context"][answer["start"] : answer["end"]] == answer["prediction"]
    assert plain_answers(here / "best", questions) == [answer["prediction"] for answer in ours]


@pytest.mark.thorough
def test_training_learns_long_contexts_in_windows(trained: Callable[..., Trained]) -> None:
    words = ("strategy=full", "strategy.lr=3e-3", "trainer.epochs=4", "data.max_length=24")
    assert trained(adjectives(200, 40), *words).scores["f1"] >= 0.9


@pytest.mark.thorough
def test_training_learns_which_questions_have_no_answer(trained: Callable[..., Trained]) -> None:
    words = ("strategy=full", "strategy.lr=3e-3", "trainer.epochs=6", "task.null_threshold=0")
    result = trained(adjectives(320, 10, none=0.4), *words)
    assert result.scores["exact_match"] >= 0.9
    nothing, something = result.load().predict(
        [{"text": f"the hotel and the {word}", "text_pair": "How was it?"} for word in FILLERS[1:2]]
        + [{"text": "the hotel great and", "text_pair": "How was it?"}]
    )
    assert (nothing["prediction"], nothing["start"]) == ("", None)
    assert something["prediction"] == "great"


def test_predict_reads_a_squad_file(trained: Callable[..., Trained], here: Path) -> None:
    export(trained(adjectives(40, 5), "strategy=full", "trainer.epochs=1"), here / "best")
    qas = [{"id": str(n), "question": "How was it?"} for n in range(2)]
    paragraph = {"context": "It was great.", "qas": qas}
    tree = {"version": "1.1", "data": [{"title": "One", "paragraphs": [paragraph]}]}
    (here / "new.json").write_text(json.dumps(tree))
    run_here("predict", "model=best", "input=new.json", "output=out.jsonl")
    lines = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["0", "1"]
    for line in lines:
        assert line["context"][line["start"] : line["end"]] == line["prediction"]


def test_predict_accepts_other_column_names_and_overwrites_no_column(
    trained: Callable[..., Trained], here: Path
) -> None:
    export(trained(adjectives(40, 5), "strategy=full", "trainer.epochs=1"), here / "best")
    words = ("predict", "model=best", "output=out.jsonl", "text=passage", "text_pair=asked")
    write_jsonl(here / "new.jsonl", [{"passage": "It was great.", "asked": "How?"}])
    run_here(*words, "input=new.jsonl")
    (line,) = (here / "out.jsonl").read_text().splitlines()
    assert {"prediction", "start", "end", "score"} < set(json.loads(line))
    (here / "out.jsonl").unlink()
    write_jsonl(here / "new.jsonl", [{"passage": "It was great.", "asked": "How?", "end": "now"}])
    run_here(*words, "input=new.jsonl", code=2)


@needs(SQUAD)
def test_targets_decode_to_the_answers_in_real_data() -> None:
    run = build_run(
        compose("train", [*TINY, "model=minilm", f"data.train={SQUAD}/train.jsonl"]).tree
    )
    rows = run.data.load(run.task).splits["train"][:300]
    columns = run.task.encode(rows, run.model.load_tokenizer(), 96, ())
    assert {*run.task.inputs(columns)} == {"input_ids", "token_type_ids", "attention_mask"}
    best = [0.0] * len(rows)
    for number, first, last, starts, ends in zip(
        *(
            columns[name]
            for name in (
                "row",
                "start_positions",
                "end_positions",
                "context_start",
                "context_end",
            )
        ),
        strict=True,
    ):
        if first:
            row = rows[number]
            found = row["text"][starts[first] : ends[last]]
            best[number] = max(best[number], f1(found, row["label"]["text"]))
    # A few start or end within a token, or are cut by every window.
    assert sum(best) / len(best) > 0.99


def test_only_never_an_answer_is_a_constant_guess() -> None:
    examples = Examples(PAIR, (), None)  # type: ignore[arg-type]
    share = sum(not row["label"]["text"] for row in PAIR) / len(PAIR)
    task = qa(null_threshold=0.0)
    verdict = unlearnt(task, {task.metric: share}, examples)
    assert verdict is not None and verdict.endswith("is that of never an answer")
    assert unlearnt(task, {task.metric: share + 0.1}, examples) is None
