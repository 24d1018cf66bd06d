from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import sacrebleu

from lightning_modules.error import ConfigError
from lightning_modules.task.translation import Translation
from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer
from search.cli import main
from search.config import build_run, compose

SENTENCE = "ein Hund läuft über die grüne Wiese, und zwei Männer sehen ihm zu ."
WORDS = SENTENCE.split()


def translation(*words: str) -> Translation:
    found = build_run(compose("train", ["task=translation", *words]).tree).task
    assert isinstance(found, Translation)
    return found


def texts(seed: int, number: int = 30) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(4, 12))) for _ in range(number)]


def mixed(seed: int, references: list[str]) -> list[str]:
    """Return partly correct translations."""
    rng = random.Random(seed)
    return [
        " ".join(word if rng.random() < 0.8 else "falsch" for word in text.split())
        for text in references
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_metrics_equal_those_of_sacrebleu(seed: int) -> None:
    references = texts(seed)
    written = mixed(seed, references)
    found = translation().measure(written, [[reference] for reference in references])
    assert found["bleu"] == sacrebleu.corpus_bleu(written, [references]).score
    assert found["chrf"] == sacrebleu.corpus_chrf(written, [references]).score
    assert 10 < found["bleu"] < found["chrf"] < 100
    assert set(found) == set(Translation.directions)


def test_several_references_score_like_sacrebleu() -> None:
    first, second = texts(0), texts(1)
    written = mixed(2, first[:15]) + mixed(3, second[15:])
    both = [[one, other] for one, other in zip(first, second, strict=True)]
    found = translation().measure(written, both)
    assert found["bleu"] == sacrebleu.corpus_bleu(written, [first, second]).score
    some = [[one, other] if n % 2 else [one] for n, (one, other) in enumerate(both)]
    seconds = [other if n % 2 else None for n, other in enumerate(second)]
    found = translation().measure(written, some)
    assert found["bleu"] == sacrebleu.corpus_bleu(written, [first, seconds]).score
    assert found["chrf"] == sacrebleu.corpus_chrf(written, [first, seconds]).score


def test_the_bleu_tokenizer_can_be_chosen() -> None:
    references = ["我们喜欢读书", "今天天气很好"]
    written = ["我们喜欢看书", "今天天气真好"]
    found = translation("task.bleu_tokenizer=zh").measure(written, [[r] for r in references])
    wanted = sacrebleu.corpus_bleu(written, [references], tokenize="zh").score
    assert (
        found["bleu"] == wanted > translation().measure(written, [[r] for r in references])["bleu"]
    )
    with pytest.raises(ConfigError, match=r"^task\.bleu_tokenizer: must be one of 13a, intl, zh"):
        translation("task.bleu_tokenizer=ja-mecab")


def test_the_signatures_are_recorded() -> None:
    scoring = translation().scoring([["a", "b"], ["c", "d"]])
    version = sacrebleu.__version__
    assert scoring == {
        "bleu": f"nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}",
        "chrf": f"nrefs:2|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version}",
    }
    assert translation().scoring([["a", "b"], ["c"]])["bleu"].startswith("nrefs:var|")


def test_a_row_is_scored_by_the_tasks_metric() -> None:
    written, reference = "zwei Männer sehen zu", "zwei Männer sehen ihm zu"
    bleu = sacrebleu.sentence_bleu(written, [reference]).score
    chrf = sacrebleu.sentence_chrf(written, [reference]).score
    assert translation().measure_row(written, [reference]) == bleu > 0
    assert translation("task.metric=chrf").measure_row(written, [reference]) == chrf != bleu


def test_the_baseline_is_copying_the_source() -> None:
    pairs = zip(texts(0), texts(1), strict=True)
    rows = [{"text": source, "label": [target]} for source, target in pairs]
    found = translation().baseline(rows)
    assert found.guess == "copying the source"
    assert found.score == sacrebleu.corpus_bleu(texts(0), [texts(1)]).score


def test_a_tokenizer_that_drops_case_and_umlauts_is_refused_in_one_line() -> None:
    run = build_run(compose("train", ["task=translation", "model=minilm"]).tree)
    rows = [{"text": "x", "label": [text]} for text in texts(0)]
    with pytest.raises(ConfigError) as raised:
        run.task.encode(rows, run.model.load_tokenizer(), 64, ())
    (line,) = str(raised.value).splitlines()
    assert line.startswith("model: its tokenizer must be able to write the targets, got '")
    assert " BLEU " in line and "strategy=from_scratch strategy.tokenizer=bpe" in line
    alone = [{"text": "x", "label": ["story"]}]  # it has no four-grams for BLEU
    assert run.task.encode(alone, run.model.load_tokenizer(), 64, ())["labels"]
    lower = [{"text": "x", "label": ["a dog runs over the green grass"]}] * 3
    assert run.task.encode(lower, run.model.load_tokenizer(), 64, ())["labels"]


@pytest.mark.parametrize("command", [["plan"], ["train", "run=x"], ["sweep", "study=x"]])
def test_every_command_refuses_it_before_it_writes_anything(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ({"source": f"x {n}", "target": f"{text} Ü{n}"} for n, text in enumerate(texts(0) * 9))
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["task=translation", "model=tiny", "model.kind=encoder_decoder", "data=files"]
    words += ["data.train=rows.jsonl", "data.text=source", "data.label=target", "logger=none"]
    assert main([*command, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("model: its tokenizer must be able to write the targets, got '")
    assert not Path("runs").exists() and not Path("studies").exists()


def test_a_tokenizer_trained_on_the_rows_is_accepted() -> None:
    task, rows = translation(), [{"text": "x", "label": [text]} for text in texts(0)]
    made = [text for row in rows for text in task.texts(row)]
    tokenizer = train_tokenizer(made, Vocabulary.bpe, 400, None)
    labels = task.encode(rows, tokenizer, 64, ())["labels"]
    assert tokenizer.decode(labels[0], skip_special_tokens=True) == texts(0)[0]
