from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from lightning_modules.batch import tokenize
from lightning_modules.batch.collate import Collate
from lightning_modules.batch.type import IGNORED
from lightning_modules.check import check_run
from lightning_modules.error import ConfigError, DataError
from lightning_modules.export.model import load_exported
from lightning_modules.export.predictor import Evaluation
from lightning_modules.fit import fit
from lightning_modules.folder import BEST_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.model.kind import Kind
from lightning_modules.outcome import Ending
from lightning_modules.rows.corpus import Corpus
from lightning_modules.run import Run
from lightning_modules.task.base import GENERATED, Examples
from lightning_modules.task.generation import Generation
from lightning_modules.task.verdict import unlearnt
from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import write_jsonl
from tests.cut import StopAt

TEXTS = ["The cat sat.", "A dog ran off into the wood!", "No."]
TOKENIZER = train_tokenizer(
    [*TEXTS, "\n<|:>?abcdefghijklmnopqrstuvwxyz0123456789 "], Vocabulary.characters, 0, Kind.decoder
)
BEGIN, END = TOKENIZER.bos_token_id, TOKENIZER.eos_token_id
TALK = [
    {"role": "user", "content": "cat?"},
    {"role": "assistant", "content": "sat"},
    {"role": "user", "content": "dog?"},
    {"role": "assistant", "content": "ran"},
]


def generation(*words: str) -> Generation:
    words = tuple(f"task.{word}" for word in words)
    task = build_run(compose("train", ["task=generation", *words]).tree).task
    assert isinstance(task, Generation)
    return task


TASK = generation()


def encoded(task: Generation, rows: Sequence[dict[str, Any]], length: int = 64) -> dict[str, Any]:
    return task.encode(rows, TOKENIZER, length, ())


def batch_of(columns: dict[str, Any]) -> dict[str, torch.Tensor]:
    examples = [
        {name: column[index] for name, column in columns.items()}
        for index in range(len(columns["input_ids"]))
    ]
    return Collate(TOKENIZER)(examples)


def ids(text: str) -> list[int]:
    found: list[int] = TOKENIZER(text)["input_ids"]
    return found


def network_of(kind: str, attention: str) -> Any:
    sizes = {"vocab_size": len(TOKENIZER), "initializer_range": 0.2, "eos_token_id": END}
    config: Any
    if kind == "gpt2":
        dropout = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
        config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, **sizes, **dropout)
    else:
        makers = {"llama": transformers.LlamaConfig, "qwen3": transformers.Qwen3Config}
        makers["gemma"] = transformers.Gemma3TextConfig
        config = makers[kind](
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            **sizes,
        )
        if kind == "gemma":
            config.sliding_window = 8  # shorter than the longest document
    torch.manual_seed(0)
    auto = transformers.AutoModelForCausalLM
    network = auto.from_config(config, dtype=torch.float32, attn_implementation=attention)
    return network.eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen3", "gemma"])
def test_a_packed_document_has_the_same_logits_as_alone(kind: str, attention: str) -> None:
    network = network_of(kind, attention)
    columns = encoded(TASK, [{"text": text} for text in TEXTS])
    with torch.inference_mode():
        together = network(**TASK.inputs(batch_of(columns)), use_cache=False).logits[0]
        start = 0
        for text in TEXTS:
            alone = network(torch.tensor([[BEGIN, *ids(text)]])).logits[0]
            found = together[start : start + len(alone)]
            torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)
            start += len(alone)


def test_documents_in_a_stream_attend_to_each_other() -> None:
    network, task = network_of("gpt2", "sdpa"), generation("packing=stream")
    columns = encoded(task, [{"text": text} for text in TEXTS])
    tokens = [token for text in TEXTS for token in (BEGIN, *ids(text))]
    with torch.inference_mode():
        read = task.inputs(batch_of(columns))
        found = network(**read, use_cache=False).logits[0, : len(tokens)]
        torch.testing.assert_close(found, network(torch.tensor([tokens])).logits[0])


@pytest.mark.parametrize("packing", ["documents", "stream", "none"])
def test_every_packing_has_the_same_targets(packing: str) -> None:
    task = generation(f"packing={packing}")
    columns = encoded(task, [{"text": text} for text in TEXTS])
    batch = batch_of(columns)
    labels = batch["labels"][batch["labels"] != IGNORED].tolist()
    assert labels == [token for text in TEXTS for token in (*ids(text), END)]
    assert task.num_targets(batch) == len(labels)
    assert sum(columns["num_characters"]) == sum(map(len, TEXTS))


def test_a_long_text_without_packing_is_truncated_with_its_character_count() -> None:
    columns = encoded(generation("packing=none"), [{"text": TEXTS[1]}], 10)
    assert columns["input_ids"] == [[BEGIN, *ids(TEXTS[1])[:9]]]
    assert columns["num_characters"] == [10]


def test_the_loss_equals_that_of_transformers_with_shifted_labels() -> None:
    network = network_of("llama", "sdpa")
    task = generation("packing=none")
    batch = batch_of(encoded(task, [{"text": TEXTS[1]}]))
    whole = torch.tensor([[BEGIN, *ids(TEXTS[1]), END]])
    with torch.inference_mode():
        output = task.forward(network, batch)
        mean = task.loss_sum(output, batch) / task.num_targets(batch)
        torch.testing.assert_close(mean, network(whole, labels=whole).loss)


def test_only_answers_are_targets() -> None:
    columns = encoded(TASK, [{"text": "cat?", "label": "sat"}])
    (labels,) = columns["labels"]
    prompt = [BEGIN, *ids("cat?\n")]
    assert columns["input_ids"] == [[*prompt, *ids("sat")]]
    assert labels == [IGNORED] * (len(prompt) - 1) + [*ids("sat"), END]
    assert columns["num_characters"] == [3]
    assert columns["prompt_length"] == [len(prompt)]


def test_only_the_answer_has_losses() -> None:
    batch = batch_of(encoded(TASK, [{"text": "cat?", "label": "sat"}]))
    network = network_of("llama", "sdpa")
    with torch.inference_mode():
        output = TASK.forward(network, batch)
        (logits_TV,) = network(batch["input_ids"]).logits
    wanted = torch.nn.functional.cross_entropy(
        logits_TV[-4:], torch.tensor([*ids("sat"), END]), reduction="none"
    )
    torch.testing.assert_close(output.nats, wanted)
    torch.testing.assert_close(TASK.loss_sum(output, batch), wanted.sum())


@pytest.mark.parametrize(
    ("length", "prompt", "answer"),
    [(64, "\n", 4), (8, "abcdefgh?\n", 4), (8, "abc\n", 12), (8, "abcdefghij\n", 12)],
)
def test_a_long_prompt_loses_its_middle_and_a_long_answer_its_end(
    length: int, prompt: str, answer: int
) -> None:
    row = {"text": prompt[:-1] or "a", "label": "x" * (answer - 1)}
    columns = encoded(TASK, [row], length)
    whole = [BEGIN, *ids(row["text"] + "\n")]
    kept = columns["input_ids"][0][: columns["prompt_length"][0]]
    targets = [token for token in columns["labels"][0] if token != IGNORED]
    full = [*ids(row["label"]), END]
    assert len(columns["input_ids"][0]) <= length
    # The start token, the ends of the question, and the template's line break.
    half = (len(kept) - 2) // 2
    assert kept == whole[: len(kept) - half - 1] + whole[len(whole) - half - 1 :]
    assert targets == full[: len(targets)]
    if len(whole) + len(full) <= length + 1:
        assert (kept, targets) == (whole, full)
    else:
        assert len(kept) >= min(len(whole), length // 2)
        assert len(targets) >= min(len(full), length // 2)


def test_a_truncated_answer_counts_only_the_characters_of_its_targets() -> None:
    columns = encoded(TASK, [{"text": "a", "label": "x" * 40}], 16)
    targets = [token for token in columns["labels"][0] if token != IGNORED]
    assert END not in targets
    assert columns["num_characters"] == columns["num_bytes"] == [len(targets)]


def test_the_text_of_the_end_token_in_an_answer_is_text() -> None:
    end = TOKENIZER.convert_ids_to_tokens(END)
    columns = encoded(TASK, [{"text": "a", "label": f"b{end}c"}, {"text": "a", "label": f"b{end}"}])
    answers = [[token for token in labels if token != IGNORED] for labels in columns["labels"]]
    assert answers == [[*ids(f"b{end}c"), END], [*ids(f"b{end}"), END]]
    assert END not in ids(end)


def test_prompts_need_no_forward_pass_before_generation() -> None:
    rows = [{"text": "cat?"}]
    columns = TASK.encode_unlabelled(rows, TOKENIZER, 64, ())
    assert TASK.forward(None, batch_of(columns)) is None


def test_a_conversation_is_one_example() -> None:
    columns = encoded(TASK, [{"text": TALK}, {"text": "x", "label": "y"}], 512)
    assert columns["row"] == columns["number"] == [0, 1]
    answers = [[t for t in labels if t != IGNORED] for labels in columns["labels"]]
    line_end = ids("\n")  # the template ends a message with it, after the end token
    assert answers[0] == [*ids("sat"), END, *line_end, *ids("ran"), END, *line_end]
    assert columns["prompt_length"][0] < len(columns["input_ids"][0])


def test_a_conversation_of_an_earlier_study_has_one_example_per_answer() -> None:
    task = generation("conversations=turns")
    columns = encoded(task, [{"text": TALK}, {"text": "x", "label": "y"}], 512)
    assert columns["row"] == [0, 0, 1]
    assert columns["number"] == [0, 1, 2]
    answers = [[t for t in labels if t != IGNORED] for labels in columns["labels"]]
    assert answers == [[*ids(word), END] for word in ("sat", "ran", "y")]
    shown = TOKENIZER.decode(columns["input_ids"][1])
    assert (
        shown
        == "<|user|>\ncat?</s>\n<|assistant|>\nsat</s>\n<|user|>\ndog?</s>\n<|assistant|>\nran"
    )


def test_messages_may_have_their_answer_in_the_label() -> None:
    columns = encoded(TASK, [{"text": TALK[:3], "label": "ran"}], 512)
    whole = encoded(generation("conversations=turns"), [{"text": TALK}], 512)
    last = {name: column[1:] for name, column in whole.items()}
    assert columns == last | {"number": [0]}
    assert columns["num_characters"] == [3]


def test_prompts_contain_no_answer() -> None:
    prompts = generation("label=label").encode_unlabelled(
        [{"text": "cat?"}, {"text": TALK}], TOKENIZER, 512, ()
    )
    assert TOKENIZER.decode(prompts["input_ids"][0]) == "<s>cat?\n"
    assert TOKENIZER.decode(prompts["input_ids"][1]).endswith("dog?</s>\n<|assistant|>\n")
    text = TASK.encode_unlabelled([{"text": "The cat"}], TOKENIZER, 512, ())
    assert TOKENIZER.decode(text["input_ids"][0]) == "<s>The cat"


def observed(task: Generation, network: Any, rows: Sequence[dict[str, Any]]) -> Any:
    batch = batch_of(encoded(task, rows))
    with torch.inference_mode():
        return task.observe(network, task.forward(network, batch), batch)


@pytest.mark.parametrize("packing", ["documents", "none"])
def test_scores_equal_those_of_each_document_alone(packing: str) -> None:
    network = network_of("llama", "sdpa")
    task, rows = generation(f"packing={packing}"), [{"text": text} for text in TEXTS]
    scores = task.score(observed(task, network, rows), Examples(rows, (), TOKENIZER))
    nats, num_tokens = 0.0, 0
    for text in TEXTS:
        whole = torch.tensor([[BEGIN, *ids(text), END]])
        with torch.inference_mode():
            nats += network(whole, labels=whole).loss.item() * (whole.shape[1] - 1)
        num_tokens += whole.shape[1] - 1
    characters = sum(map(len, TEXTS))
    assert scores == pytest.approx(
        {
            "perplexity": math.exp(nats / num_tokens),
            "nats_per_token": nats / num_tokens,
            "nats_per_character": nats / characters,
            "bits_per_byte": nats / characters / math.log(2),
        },
        rel=1e-4,
    )


def test_answers_are_compared_with_the_generated_texts() -> None:
    rows = [{"text": "cat?", "label": "sat"}, {"text": "dog?", "label": "ran off"}]
    found = {
        "nats_B": torch.tensor([1.0, 2.0]).double(),
        "num_targets_B": torch.tensor([4, 8]),
        "num_characters_B": torch.tensor([3, 7]),
        "num_bytes_B": torch.tensor([3, 7]),
        "generated_BG": torch.tensor([ids("sat") + [IGNORED] * 3, ids("ran in")]),
    }
    examples = Examples(rows, (), TOKENIZER)
    scores = TASK.score(found, examples)
    assert scores.keys() == set(TASK.directions)
    assert scores["exact_match"] == 0.5
    assert scores["rouge1"] == pytest.approx((1 + 0.5) / 2)
    assert TASK.tables(found, examples) == {
        GENERATED: [
            {"text": "cat?\n", "prediction": "sat", "reference": "sat"},
            {"text": "dog?\n", "prediction": "ran in", "reference": "ran off"},
        ]
    }
    few = generation("num_generated=1")
    assert few.score(found, examples)["exact_match"] == 1.0


def test_continuations_are_shown_next_to_the_original_text() -> None:
    network = network_of("gpt2", "sdpa")
    rows = [{"text": text} for text in TEXTS]
    task = generation("packing=none", "num_generated=2", "max_new_tokens=5")
    records = task.tables(observed(task, network, rows), Examples(rows, (), TOKENIZER))[GENERATED]
    assert [record["text"] + record["reference"] for record in records] == TEXTS[:2]
    assert all(len(record["prediction"]) <= 5 for record in records)


def test_the_reference_of_a_packed_text_ends_with_the_document() -> None:
    network = network_of("gpt2", "sdpa")
    rows = [{"text": text} for text in TEXTS]
    task = generation("num_generated=2", "max_new_tokens=5")
    (record,) = task.tables(observed(task, network, rows), Examples(rows, (), TOKENIZER))[GENERATED]
    assert record["text"] + record["reference"] == TEXTS[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["template=Answer"], "task.template: must hold {text} or another column, got 'Answer'."),
        (["metric=rougeL", "num_generated=0"], "task.num_generated: must be > 0 for metric=rougeL"),
        (["max_new_tokens=0"], "task.max_new_tokens: must be > 0, got 0."),
        (["chat_template='{% for'"], "task.chat_template: must be Jinja (unexpected "),
        (["temperature=-1"], "task.temperature: must be >= 0, got -1.0."),
    ],
)
def test_an_invalid_setting_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        generation(*words)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        (TASK, [{"text": "a", "label": "b"}], "task.label: must name the column of answers, like"),
        (generation("metric=rouge1"), [{"text": "a"}], "task.metric: rouge1 must have answers"),
        (TASK, [{"text": "a"}, {"text": TALK}], "data.text: either all rows of train or none"),
    ],
)
def test_unsuitable_rows_are_refused(task: Generation, rows: Any, message: str) -> None:
    with pytest.raises(DataError) as raised:
        task.labels(Corpus({"train": rows}))
    assert str(raised.value).startswith(message)


def make_run(*words: str) -> Run:
    fixed = ("model=tiny", "model.kind=decoder", "task=generation", "logger=none")
    short = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "trainer.precision=fp32")
    return build_run(compose("train", [*fixed, *short, "task.max_new_tokens=6", *words]).tree)


def test_a_conversation_without_an_answer_is_refused_with_its_line(here: Path) -> None:
    write_jsonl(here / "a.jsonl", [{"text": TALK}, {"text": TALK[:1]}])
    with pytest.raises(ConfigError) as raised:
        check_run(make_run("data=files", "data.train=a.jsonl"))
    assert str(raised.value).startswith("a.jsonl:2:text: must have a message with role 'assistant'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Set data.test=FILE, or data.test_fraction=0."),
        (("data.test_fraction=0",), "Set data.validation=FILE."),
    ],
)
def test_a_single_text_cannot_be_split_at_random(
    here: Path, words: tuple[str, ...], message: str
) -> None:
    (here / "a.txt").write_text("To be, or not to be.\n")
    with pytest.raises(ConfigError) as raised:
        check_run(make_run("data=files", "data.train=a.txt", *words))
    assert str(raised.value).startswith("data.train: a single text cannot be split into ")
    assert str(raised.value).endswith(f", got 1 row in a.txt. {message}")


def test_a_model_that_cannot_generate_is_refused() -> None:
    with pytest.raises(ConfigError) as raised:
        check_run(make_run("model.kind=encoder"))
    assert "model: task=generation needs a model of kind decoder, got tiny" in str(raised.value)


def trained(here: Path, *words: str) -> Trained:
    run, folder = make_run(*words), here / "run"
    folder.mkdir()
    outcome = fit(run, folder, Identity("x", None, folder))
    assert outcome.best is not None, outcome.reason
    return Trained(run, folder, "run x", outcome.best.metrics, "")


FROM_SCRATCH = (
    "model=nanogpt",
    "strategy=from_scratch",
    "strategy.tokenizer=characters",
    "data.max_length=64",
)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "words",
    [("strategy=full",), ("strategy=lora", "strategy.lr=1e-2"), FROM_SCRATCH],
    ids=["full", "lora", "from_scratch"],
)
def test_an_export_generates_the_same_tokens(
    here: Path,
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = trained(here, *words, "task.label=label")
    export(result, here / "best")
    ours = result.load()
    plain = transformers.AutoModelForCausalLM.from_pretrained(here / "best").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(here / "best")
    tokens = tokenizer("not a good hotel", return_tensors="pt").input_ids
    with torch.inference_mode():
        one, other = ours.network.eval()(tokens).logits, plain(tokens).logits
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    rows = result.run.data.load(result.run.task).splits["validation"][:5]
    again = load_exported(here / "best", result.run.task)
    assert ours.predict(rows) == again.predict(rows)
    monkeypatch.chdir(here / "best")
    exec(result.run.task.usage(), {})
    assert capsys.readouterr().out


@pytest.mark.thorough
def test_a_stopped_stream_resumes_bit_for_bit(here: Path) -> None:
    run = make_run("strategy=full", "task.packing=stream", "data.max_length=16", "trainer.epochs=2")
    for name in ("whole", "cut"):
        (here / name).mkdir()
    whole = fit(run, here / "whole", Identity("x", None, here))
    identity = Identity("x", None, here)
    assert fit(run, here / "cut", identity, StopAt(7)).ending is Ending.interrupted
    again = fit(run, here / "cut", identity)
    assert [p.train_loss for p in again.points] == [p.train_loss for p in whole.points]
    kept = [load_file(here / name / BEST_FILE) for name in ("whole", "cut")]
    assert all(torch.equal(tensor, kept[1][key]) for key, tensor in kept[0].items())


class Warnings(Hooks):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.thorough
def test_a_model_with_an_unknown_output_layer_trains_alike_and_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(*FROM_SCRATCH, "task.num_generated=0", "trainer.epochs=1")
    losses, warnings = [], []
    for name in ("known", "unknown"):
        if name == "unknown":
            unknown = transformers.GPT2LMHeadModel
            monkeypatch.setattr(unknown, "get_output_embeddings", lambda network: None)
        (here / name).mkdir()
        hooks = Warnings()
        outcome = fit(run, here / name, Identity("x", None, here), hooks)
        losses.append([point.validation_loss for point in outcome.points])
        warnings.append([text for text in hooks.texts if "logits" in text])
    assert losses[0] and losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert warnings[0] == []
    assert len(warnings[1]) == 1 and warnings[1][0].startswith("GPT2LMHeadModel changes its logits")


@pytest.mark.thorough
def test_scoring_a_trained_run_repeats_its_scores(here: Path) -> None:
    result = trained(here, "task.label=label")
    rows = result.run.data.load(result.run.task).splits["validation"]
    assert result.load().score(rows) == pytest.approx(dict(result.scores), rel=1e-5)
    lines = (here / "run/generated.jsonl").read_text().splitlines()
    assert [json.loads(line)["reference"] for line in lines] == [r["label"] for r in rows[:20]]


@pytest.mark.thorough
@pytest.mark.parametrize("packing", ["documents", "stream"])
def test_scoring_many_rows_uses_the_blocks_of_training(
    here: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    monkeypatch.setattr(tokenize, "ROWS_AT_ONCE", 7)
    monkeypatch.setenv("FINESWEEP_CACHE", str(here / "cache"))
    words = ("strategy=full", f"task.packing={packing}", "task.label=null", "data.max_length=16")
    result = trained(here, *words, "trainer.precision=fp32")
    rows = result.run.data.load(result.run.task).splits["validation"]
    assert len(rows) > 7
    assert result.load().score(rows) == pytest.approx(dict(result.scores), rel=1e-6)
    monkeypatch.setattr(tokenize, "ROWS_AT_ONCE", 10_000)
    assert result.load().score(rows) != pytest.approx(dict(result.scores), rel=1e-4)


@pytest.mark.thorough
def test_training_learns_to_answer(here: Path) -> None:
    words = ["hotel", "novel", "kettle", "museum"]
    rows = [
        {
            "text": f"the {words[n % 4]} was {('good', 'awful')[n // 4 % 2]} , number {n} .",
            "label": ("very good", "very bad")[n // 4 % 2],
        }
        for n in range(240)
    ]
    write_jsonl(here / "a.jsonl", rows)
    data = ("data=files", "data.train=a.jsonl", "task.label=label")
    longer = ("trainer.epochs=8", "strategy=full", "strategy.lr=1e-2")
    result = trained(here, *data, *longer, "task.metric=exact_match")
    assert result.scores["exact_match"] == 1.0
    predictions = result.load().predict([{"text": "the museum was awful , number 3 ."}])
    assert predictions == [{"prediction": "very bad"}]


def test_the_baseline_is_the_entropy_of_the_characters() -> None:
    found = generation("metric=nats_per_character").baseline([{"text": "abab"}, {"text": "ba"}])
    assert found is not None
    assert found.score == pytest.approx(math.log(2))
    bits = generation("metric=bits_per_byte").baseline([{"text": "abcd"}])
    assert bits is not None
    assert bits.score == pytest.approx(2)
    assert TASK.baseline([{"text": "a"}]) is None


def test_a_constant_output_is_reported() -> None:
    records = [{"text": "a", "prediction": "x", "reference": "y"}] * 2
    assert TASK.constant_prediction({GENERATED: records}) == "writes 'x' for every row"
    assert (
        TASK.constant_prediction({GENERATED: [*records, {**records[0], "prediction": "z"}]}) is None
    )


def test_a_perplexity_above_that_of_the_tokens_shares_has_not_learnt() -> None:
    examples = Examples([{"text": "aab"}, {"text": "aba"}], (), TOKENIZER)
    shares = math.exp(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)))  # 1.89
    assert TASK.constant_guess(examples).score == pytest.approx(shares)  # type: ignore[union-attr]
    assert unlearnt(TASK, {"perplexity": 1.8}, examples) is None
    assert unlearnt(TASK, {"perplexity": 1452.3}, examples) == (
        "has not learnt: its perplexity of 1452 is no better than the 1.89 of guessing by the "
        "tokens' shares"
    )


def test_answers_without_any_shared_word_have_not_learnt() -> None:
    task = generation("metric=rouge1", "label=answer", "num_generated=2")
    examples = Examples([{"text": "q", "label": "cat"}], (), TOKENIZER)
    verdict = unlearnt(task, {"rouge1": 0.0}, examples)
    assert verdict == "has not learnt: its rouge1 of 0 is that of writing nothing"
    assert unlearnt(task, {"rouge1": 0.1}, examples) is None


def test_the_shares_are_of_the_tokens_that_an_example_has() -> None:
    rows = [{"text": "aab" + "xyz" * 9}, {"text": "aba" + "z" * 9}]
    task, examples = generation("packing=none"), Examples(rows, (), TOKENIZER, 3)
    found = task.constant_guess(examples)
    short = task.constant_guess(Examples([{"text": "aab"}, {"text": "aba"}], (), TOKENIZER))
    assert found is not None and found == short
    # Blocks have every token.
    assert TASK.constant_guess(examples) == TASK.constant_guess(Examples(rows, (), TOKENIZER))


ROWS = [
    {"text": "cat?", "label": "sat"},
    {"text": "dog?", "label": "ran off into the wood!"},
    {"text": "who?", "label": "no"},
]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen3", "gemma"])
def test_packed_answers_have_the_loss_and_gradients_of_rows_alone(
    kind: str, attention: str
) -> None:
    task = generation("pack_answers=true")
    packed = batch_of(task.encode_training(ROWS, TOKENIZER, 48, ()))
    assert packed["input_ids"].shape == (1, 48)
    results = []
    for batch in (packed, batch_of(encoded(task, ROWS))):
        network = network_of(kind, attention)
        loss = task.loss_sum(task.forward(network, batch), batch) / task.num_targets(batch)
        loss.backward()
        results.append((loss, {n: p.grad for n, p in network.named_parameters()}))
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-4)


@pytest.mark.thorough
def test_packed_answers_train_and_are_scored_alone(here: Path) -> None:
    rows = [{"text": f"cat {n}?", "label": "sat" * (n % 5 + 1)} for n in range(60)]
    write_jsonl(here / "a.jsonl", rows)
    words = ("data=files", "data.train=a.jsonl", "task.label=label", "strategy=full")
    run = make_run(*words, "task.pack_answers=true", "data.batch_size=2", "data.max_length=64")
    (here / "run").mkdir()
    steps = Steps()
    outcome = fit(run, here / "run", Identity("x", None, here / "run"), steps)
    assert outcome.best is not None, outcome.reason
    assert 0 < steps.num_steps < 42 / 2 / 2  # 42 training rows, several in one block
    result = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    validation = check_run(run).corpus.splits["validation"]
    assert result.load().score(validation) == pytest.approx(outcome.best.metrics, abs=1e-5)


class Steps(Hooks):
    num_steps = 0

    def on_step(self, step: int, num_steps: int) -> None:
        self.num_steps = num_steps


MAMBA = (
    "model=architecture",
    "model.type=mamba",
    "model.kind=decoder",
    "model.attention=eager",
    "model.config={hidden_size: 16, num_hidden_layers: 1, state_size: 4}",
    "strategy=from_scratch",
    "strategy.tokenizer=characters",
    "data.max_length=64",
    "trainer.max_steps=1",
)


@pytest.mark.thorough
def test_an_architecture_that_cannot_keep_rows_apart_is_refused(here: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        trained(here, *MAMBA, "task.label=label", "task.pack_answers=true")
    assert str(raised.value) == (
        "task.pack_answers: must be false for MambaForCausalLM, in which the examples of a block "
        "see each other, got True. Set task.pack_answers=false."
    )


@pytest.mark.thorough
def test_documents_that_see_each_other_are_noted(here: Path) -> None:
    hooks, run, folder = Warnings(), make_run(*MAMBA), here / "run"
    folder.mkdir()
    fit(run, folder, Identity("x", None, folder), hooks)
    assert any("MambaForCausalLM lets the documents of a block see" in w for w in hooks.texts)


def test_the_final_answer_is_scored_if_there_is_a_pattern_for_it() -> None:
    task = generation("metric=final_answer", 'final_answer=": (.+)"', "label=label")
    rows = [{"text": "one", "label": f"a: {n}"} for n in (1, 2)]
    written = [TOKENIZER(text, add_special_tokens=False)["input_ids"] for text in ("b: 1", ": 3")]
    width = max(map(len, written))
    padded = [[*ids, *[IGNORED] * (width - len(ids))] for ids in written]
    observed = {
        **{name: torch.ones(2) for name in ("nats_B", "num_targets_B")},
        **{name: torch.ones(2) for name in ("num_characters_B", "num_bytes_B")},
        "generated_BG": torch.tensor(padded),
    }
    examples = Examples(rows, (), TOKENIZER, 64)
    scores = task.score(observed, examples)
    assert scores["final_answer"] == 0.5 and task.row_values(observed, examples) == [1, 0]
    assert Evaluation(task, observed, examples).scored == "2 rows"
    first = replace(task, num_generated=1)
    assert Evaluation(first, observed, examples).scored == "1 scored examples"
    assert set(scores) == set(task.goals) and "final_answer" not in TASK.goals
    assert task.direction == "maximize"


def test_a_final_answer_that_cannot_be_found_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task.metric: task.final_answer must be the pattern"):
        generation("metric=final_answer", "label=label")
    task = generation("metric=final_answer", 'final_answer="#### (.+)"', "label=label")
    rows = [{"text": "one", "label": "#### 1"}, {"text": "two", "label": "it is 2"}]
    with pytest.raises(DataError) as raised:
        task.labels(Corpus({"train": rows}))
    assert str(raised.value) == (
        "task.final_answer: every answer of train must have a match of '#### (.+)', got 1 of 2 "
        "without one, e.g. 'it is 2'. Mend the rows or the pattern."
    )


def test_a_final_answer_that_cannot_be_found_is_said_if_another_metric_chooses() -> None:
    task = generation("metric=exact_match", 'final_answer="#### (.+)"', "label=label")
    rows = [{"text": "one", "label": "#### 1"}, {"text": "two", "label": "it is 2"}]
    task.labels(Corpus({"train": rows, "validation": rows}))
    assert list(task.notes({"train": rows, "validation": rows, "test": rows[:1]})) == [
        "1 of 2 answers of validation have no match of task.final_answer; what is written for them "
        "counts as wrong"
    ]
