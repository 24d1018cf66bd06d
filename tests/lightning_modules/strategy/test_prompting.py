"""Prompting: the prompts, the correctness of the scores, and whole runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.cache import Cache
from lightning_modules.check import check_run
from lightning_modules.error import ConfigError, UserError
from lightning_modules.export.model import load_exported
from lightning_modules.export.predictor import load_trained
from lightning_modules.fit import fit
from lightning_modules.folder import BEST_FILE, STATE_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.minilm import Minilm, Source
from lightning_modules.network import build_network, build_tokenizer
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import write_jsonl
from tests.shared import DATA, needs

LABELS = ("negative", "positive")
SST2 = DATA / "sst2"
WORDS = "strategy.label_words={negative: bad, positive: good}"
DECODER = ("model=tiny", "model.kind=decoder", "data.max_length=512")


def make_run(*words: str) -> Run:
    fixed = ("strategy=prompting", "logger=none", "trainer.precision=fp32")
    return build_run(compose("train", [*fixed, *words]).tree)


def fitted(run: Run) -> Any:
    return run.strategy.fit_to_rows(run.model, run.task, run.data.load(run.task))


def ask(run: Run, folder: Path, hooks: Hooks | None = None) -> Outcome:
    return fit(run, folder, Identity("test", None, folder), hooks)


@pytest.fixture
def masked(here: Path) -> str:
    """Save a small random BERT with a head for masked words, and return its folder."""
    import transformers

    tiny = build_run(compose("train", ["model=tiny"]).tree).model
    tiny.load_tokenizer().save_pretrained(here / "masked")
    tiny.load_network("AutoModelForMaskedLM").save_pretrained(here / "masked")
    names = transformers.AutoConfig.from_pretrained(here / "masked").architectures
    assert names == ["BertForMaskedLM"]
    return str(here / "masked")


def words_for(how: str, masked: str) -> tuple[str, ...]:
    return {
        "similarity": ("model=tiny",),
        "mask": (
            "model=hub",
            f"model.path={masked}",
            "strategy.label_words={negative: bad, positive: good}",
        ),
        "causal": DECODER,
    }[how]


hows = pytest.mark.parametrize("how", ["similarity", "mask", "causal"])


@hows
def test_auto_chooses_how_by_the_model(how: str, masked: str) -> None:
    assert fitted(make_run(*words_for(how, masked))).how.value == how


def test_a_prompt_contains_shots_and_the_question() -> None:
    tokenizer: Any = make_run("model=tiny").model.load_tokenizer()
    rows = [{"text": "Nice.", "text_pair": "x", "label": "positive"}]
    template = "strategy.template='{text} {text_pair} So {label}.'"
    shots = ("strategy.num_shots=1", "strategy.label_words={positive: good}")
    strategy = make_run(*DECODER, template, *shots).strategy
    state = {"how": "causal", "shots": [{"text": "Bah.", "text_pair": "y", "label": "negative"}]}
    (row,) = strategy.from_state(state).prepare(rows, tokenizer)
    assert row == {"text": "Bah. y So negative.\nNice. x So", "label": "positive"}
    (row,) = strategy.from_state({**state, "how": "mask"}).prepare(rows, tokenizer)
    assert row["text"] == "Bah. y So negative.\nNice. x So [MASK]."
    assert strategy.from_state({**state, "how": "similarity"}).prepare(rows, tokenizer) == rows


def test_a_similarity_is_the_cosine_of_embeddings() -> None:
    run = make_run("model=minilm", "strategy.num_shots=2")
    strategy = fitted(run)
    backbone = run.model.load_network("AutoModel")
    tokenizer: Any = run.model.load_tokenizer()

    def embed(text: str) -> torch.Tensor:
        with torch.no_grad():
            hidden = backbone(**tokenizer([text], return_tensors="pt")).last_hidden_state[0]
        return torch.nn.functional.normalize(hidden.mean(dim=0), dim=0)

    network = strategy.adapt(strategy.load(run.model, run.task, LABELS, tokenizer))
    texts = ["A waste of money.", "My best purchase of the whole year, and the cheapest."]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    logits = network(**inputs).logits
    for number, text in enumerate(texts):
        for label in LABELS:
            shots = [shot["text"] for shot in strategy.shots if shot["label"] == label]
            assert len(shots) == 2
            class_ = 16 * embed(f"It was {label}.") + sum(embed(shot) for shot in shots)
            cosine = torch.nn.functional.cosine_similarity(embed(text), class_, dim=0)
            expected = cosine.item() / 0.05
            assert logits[number, LABELS.index(label)].item() == pytest.approx(expected, abs=1e-4)


def test_logits_are_read_at_the_mask_for_the_label(masked: str) -> None:
    run = make_run(*words_for("mask", masked))
    strategy = fitted(run)
    tokenizer: Any = strategy.load_tokenizer(run.model, run.task, ())
    network = strategy.adapt(strategy.load(run.model, run.task, LABELS, tokenizer))
    rows = [{"text": "A [MASK] in the text."}, {"text": "Short."}]
    prompts = [row["text"] for row in strategy.prepare(rows, tokenizer)]
    logits = network(**tokenizer(prompts, padding=True, return_tensors="pt")).logits
    ids = tokenizer.convert_tokens_to_ids(["bad", "good"])
    for number, prompt in enumerate(prompts):
        tokens = tokenizer([prompt], return_tensors="pt")
        at = max(
            n for n, each in enumerate(tokens["input_ids"][0]) if each == tokenizer.mask_token_id
        )
        expected = network.backbone(**tokens).logits[0, at, ids]
        torch.testing.assert_close(logits[number], expected, atol=1e-5, rtol=1e-5)


def test_a_long_prompt_is_cut_to_fit_the_longest_word() -> None:
    words = "strategy.label_words={negative: not good at all, positive: not bad}"
    run = make_run(*DECODER, words)
    strategy = fitted(run)
    tokenizer: Any = strategy.load_tokenizer(run.model, run.task, ())
    network = strategy.adapt(strategy.load(run.model, run.task, LABELS, tokenizer))
    most = network.backbone.config.n_positions
    longest = max(map(len, network.words))
    ids = torch.randint(5, 200, (2, most), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 40:] = 0
    logits = network(input_ids=ids, attention_mask=mask).logits
    end = ids[:1, longest - 1 :]
    expected = network(input_ids=end, attention_mask=torch.ones_like(end)).logits[0]
    torch.testing.assert_close(logits[0], expected, atol=1e-4, rtol=1e-4)
    alone = network(input_ids=ids[1:, :40], attention_mask=mask[1:, :40]).logits[0]
    torch.testing.assert_close(logits[1], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_words_of_several_tokens_are_scored_by_their_log_probability(side: str) -> None:
    words = "strategy.label_words={negative: not good at all, positive: not bad}"
    run = make_run(*DECODER, words)
    strategy = fitted(run)
    tokenizer: Any = strategy.load_tokenizer(run.model, run.task, ())
    tokenizer.padding_side = side
    network = strategy.adapt(strategy.load(run.model, run.task, LABELS, tokenizer))
    prompts = ["It was", "The train was late and the seat was"]
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    logits = network(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    for number, prompt in enumerate(prompts):
        start = tokenizer([prompt])["input_ids"][0]
        for place, word in enumerate(("not good at all", "not bad")):
            added = tokenizer(word, add_special_tokens=False)["input_ids"]
            steps = network.backbone(torch.tensor([start + added])).logits[0].log_softmax(dim=-1)
            expected = sum(steps[len(start) - 1 + n, token] for n, token in enumerate(added))
            torch.testing.assert_close(logits[number, place], expected, atol=1e-4, rtol=1e-5)


@hows
def test_calibration_makes_a_content_free_prompt_favor_no_label(how: str, masked: str) -> None:
    run = make_run(*words_for(how, masked), "strategy.calibrate=true", "strategy.num_shots=1")
    strategy = fitted(run)
    tokenizer: Any = strategy.load_tokenizer(run.model, run.task, ())
    network = strategy.adapt(strategy.load(run.model, run.task, LABELS, tokenizer))
    (row,) = strategy.prepare([{"text": "N/A"}], tokenizer)
    inputs = tokenizer([row["text"]], return_tensors="pt")
    inputs.pop("token_type_ids", None)
    torch.testing.assert_close(network(**inputs).logits, torch.zeros(1, 2), atol=1e-4, rtol=0)


@pytest.mark.thorough
@hows
def test_a_run_is_a_single_validation_and_can_be_exported(
    how: str, masked: str, here: Path
) -> None:
    run = make_run(*words_for(how, masked), "strategy.num_shots=2", "strategy.calibrate=true")
    outcome = ask(run, here / "run")
    assert (outcome.ending, outcome.reason) == (Ending.finished, "needed no training")
    assert outcome.verdict.startswith("was not trained")
    assert [(point.step, point.epoch) for point in outcome.points] == [(0, 0.0)]
    assert outcome.num_trainable == 0 < outcome.num_parameters
    assert load_file(here / "run" / BEST_FILE) == {}
    assert not list((here / "run").glob("checkpoint*"))
    assert len(json.loads((here / "run" / STATE_FILE).read_text())["shots"]) == 4

    validation = run.data.load(run.task).splits["validation"]
    assert outcome.best is not None
    predictor = load_trained(run, here / "run", LABELS)
    assert predictor.score(validation) == outcome.best.metrics
    trained = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    export(trained, here / "best")
    ours = predictor.predict(validation[:30])
    assert load_exported(here / "best", run.task).predict(validation[:30]) == ours
    (one,) = predictor.predict([{"text": "Your text."}])
    assert _run_card(here / "best") == one["prediction"]


def _run_card(folder: Path) -> str:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    code = readme.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_interrupted_run_can_be_restarted(here: Path) -> None:
    class Stop(Hooks):
        def interrupted(self) -> bool:
            return True

    run = make_run("model=tiny")
    assert ask(run, here / "run", Stop()).ending is Ending.interrupted
    assert ask(run, here / "run").ending is Ending.finished


def test_shots_are_training_rows_chosen_by_the_seed(here: Path) -> None:
    run = make_run("model=tiny", "strategy.num_shots=3")
    splits = run.data.load(run.task).splits
    shots = fitted(run).shots
    assert len(shots) == 6 and all(shot in splits["train"] for shot in shots)
    assert fitted(run).shots == shots
    assert (
        fitted(make_run("model=tiny", "strategy.num_shots=3", "strategy.shots_seed=1")).shots
        != shots
    )


def test_runs_in_one_process_share_only_equal_parts() -> None:
    cache = Cache()
    left = build_tokenizer(make_run(*DECODER), (), cache)
    lora = make_run(*DECODER[:2], "strategy=full")
    assert (left.truncation_side, build_tokenizer(lora, (), cache).truncation_side) == (
        "left",
        "right",
    )
    one, other = (
        build_network(
            make_run("model=tiny", f"strategy.template='{{text}} {word} {{label}}'"), LABELS, cache
        )
        for word in ("so", "great")
    )
    assert not torch.equal(one.classes, other.classes)  # type: ignore[operator]
    assert sum(key[0] == "networks" for key in cache._values) == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("strategy.template='It was {label}.'",), "strategy.template: must hold {text}, got"),
        (("strategy.num_shots=-1",), "strategy.num_shots: must be >= 0, got -1"),
        (("strategy.temperature=0",), "strategy.temperature: must be > 0, got 0"),
    ],
)
def test_invalid_settings_are_refused_before_loading(words: tuple[str, ...], line: str) -> None:
    with pytest.raises(UserError) as caught:
        make_run("model=tiny", *words)
    assert str(caught.value.problems[0]).startswith(line)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("strategy.label_words={positve: good}",),
            "strategy.label_words.positve: must name a label of the data (negative, positive), got",
        ),
        (("strategy.label_words={positive: negative}",), "strategy.label_words: must differ b"),
        (("strategy.how=causal",), "model: strategy.how=causal needs a model of kind decoder, got"),
        (("strategy.how=mask",), "model: strategy.how=mask needs a model trained to fill masks, "),
        (
            ("trainer.devices=2",),
            "trainer.devices: must be 1, because strategy=prompting",
        ),
        (
            ("model.kind=encoder_decoder",),
            "model: strategy.how=similarity needs",
        ),
    ],
)
def test_unsupported_prompting_is_refused_before_loading_weights(
    words: tuple[str, ...], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_run(make_run("model=tiny", *words))
    assert str(caught.value.problems[0]).startswith(line)


def test_a_template_for_pairs_must_contain_both_texts(here: Path) -> None:
    rows = [{"text": f"a {n}", "text_pair": "b", "label": str(n % 2)} for n in range(40)]
    data = ("data=files", f"data.train={write_jsonl(here / 'pairs.jsonl', rows)}")
    with pytest.raises(ConfigError, match=r"must contain \{text_pair\}, because the rows"):
        check_run(make_run("model=tiny", *data, "data.text_pair=text_pair"))
    template = "strategy.template='{text} And {text_pair}? {label}'"
    run = make_run(
        "model=tiny", *data, "data.text_pair=text_pair", template, "strategy.num_shots=1"
    )
    assert ask(run, here / "run").ending is Ending.finished


def test_a_label_word_of_several_tokens_is_reported(masked: str) -> None:
    run = make_run(*words_for("mask", masked), "strategy.label_words={negative: not good}")
    with pytest.raises(
        ConfigError, match=r"label_words.negative: must be one token .*'not good', which is 2"
    ):
        build_network(run, LABELS, Cache())


@pytest.mark.thorough
@needs(SST2)
def test_untrained_minilm_separates_good_and_bad_reviews(here: Path) -> None:
    data = (
        "data=files",
        f"data.train={SST2}/train.jsonl",
        f"data.validation={SST2}/validation.jsonl",
    )
    run = make_run("model=minilm", *data)
    strategy = fitted(run)
    outcome = ask(run, here / "run")
    assert strategy.shots == () and outcome.best is not None
    assert outcome.best.metrics["accuracy"] >= 0.65


@pytest.mark.thorough
def test_an_exported_minilm_prompt_contains_no_weights(here: Path) -> None:
    run = make_run("model=minilm", "strategy.num_shots=4")
    outcome = ask(run, here / "run")
    assert outcome.best is not None and outcome.best.metrics["accuracy"] > 0.6
    trained = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    export(trained, here / "best")
    assert not list((here / "best").rglob("model.safetensors"))
    base = Minilm(source=Source.package, attention=Attention.sdpa, dtype=Dtype.fp32).location()
    rows = [{"text": "Never again."}]
    again = load_exported(here / "best", run.task, base)
    assert again.predict(rows) == trained.load().predict(rows)
