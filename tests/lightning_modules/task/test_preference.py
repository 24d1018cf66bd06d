"""Preferences: examples, the reference, metrics, refusals, predictions."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

from lightning_modules.batch.collate import Collate
from lightning_modules.batch.type import IGNORED
from lightning_modules.check import check_run
from lightning_modules.error import ConfigError, DataError
from lightning_modules.fit import fit
from lightning_modules.folder import REFERENCE_FILE
from lightning_modules.logger.base import Identity
from lightning_modules.model.kind import Kind
from lightning_modules.rows.corpus import Corpus
from lightning_modules.task.base import MISTAKES, REFERENCE, Examples
from lightning_modules.task.preference import Preference
from lightning_modules.text.loss import target_losses
from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer
from search.config import build_run, compose
from search.trained.export import Trained
from tests.conftest import write_jsonl

TOKENIZER = train_tokenizer(
    ["\n<|:>?=+.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 "],
    Vocabulary.characters,
    0,
    Kind.decoder,
)
BEGIN, END = TOKENIZER.bos_token_id, TOKENIZER.eos_token_id
ROWS = [
    {"text": "Two and two?", "chosen": "4", "rejected": "It is 5."},
    {"text": "One and one?", "chosen": "It is two.", "rejected": "3"},
    {"text": "Why?", "chosen": "So", "rejected": "No"},
]
LOSSES = ("dpo", "ipo", "orpo", "simpo")


def preference(*words: str) -> Preference:
    words = tuple(f"task.{word}" for word in words)
    task = build_run(compose("train", ["task=preference", *words]).tree).task
    assert isinstance(task, Preference)
    return task


TASK = preference()


def batch_of(task: Preference, rows: list[dict[str, Any]], length: int = 64) -> dict[str, Any]:
    columns = task.encode(rows, TOKENIZER, length, ())
    places = range(len(rows))
    examples = [{name: column[at] for name, column in columns.items()} for at in places]
    return Collate(TOKENIZER)(examples)


def plain_network() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        pad_token_id=TOKENIZER.pad_token_id,
        bos_token_id=BEGIN,
        eos_token_id=END,
    )
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def adapted_network() -> Any:
    """Return a network with an adapter that changes its answers."""
    network = get_peft_model(plain_network(), LoraConfig(r=2, task_type="CAUSAL_LM"))
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def logp_of(network: Any, task: Preference, row: dict[str, Any], answer: str) -> tuple[float, int]:
    """Return an answer's log-probability by a pass over one text alone, and its tokens."""
    question = TOKENIZER(task.template.replace("{text}", row["text"]))["input_ids"]
    ids = [BEGIN, *question, *TOKENIZER(answer)["input_ids"], END]
    with torch.inference_mode():
        logp = network(torch.tensor([ids])).logits[0].log_softmax(-1)
    places = range(len(question) + 1, len(ids))
    return sum(float(logp[at - 1, ids[at]]) for at in places), len(places)


def test_an_example_is_both_texts_with_the_answers_as_targets() -> None:
    columns = preference().encode(ROWS[:1], TOKENIZER, 64, ())
    (ids,), (labels,) = columns["input_ids"], columns["labels"]
    question = [BEGIN, *TOKENIZER("Two and two?\n")["input_ids"]]
    chosen, rejected = ([*TOKENIZER(text)["input_ids"], END] for text in ("4", "It is 5."))
    assert ids[1::2] == [*question, *rejected[:-1]]
    size = len(question) + len(chosen) - 1
    assert ids[::2][:size] == [*question, *chosen[:-1]]
    assert set(ids[::2][size:]) == {TOKENIZER.pad_token_id}
    assert [label for label in labels[1::2] if label != IGNORED] == rejected
    assert [label for label in labels[::2] if label != IGNORED] == chosen


@pytest.mark.parametrize("network", [adapted_network(), plain_network()], ids=["lora", "full"])
def test_rewards_are_those_of_texts_alone(network: Any) -> None:
    task, base = preference("beta=0.3"), plain_network()
    batch = batch_of(task, ROWS)
    if not hasattr(network, "disable_adapter"):
        for parameter in network.parameters():
            parameter.data += 0.02
        batch |= task.reference(base, batch)
    with torch.inference_mode():
        output = task.forward(network, batch)
        observed = task.observe(network, output, batch)
    for name in ("chosen", "rejected"):
        expected = []
        for row in ROWS:
            logp, reference = (logp_of(net, task, row, row[name])[0] for net in (network, base))
            expected.append(0.3 * (logp - reference))
        found = observed[f"reward_{name}_B"]
        assert found.tolist() == pytest.approx(expected, abs=2e-4)
        assert max(map(abs, expected)) > 0.01
    scores = task.score(observed, Examples(ROWS, (), TOKENIZER))
    margins = (observed["reward_chosen_B"] - observed["reward_rejected_B"]).tolist()
    assert scores["reward_accuracy"] == pytest.approx(sum(m > 0 for m in margins) / 3, abs=1e-6)
    assert scores["loss"] == scores["log_loss"]
    total = sum(math.log1p(math.exp(-margin)) for margin in margins)
    assert float(task.loss_sum(output, batch)) == pytest.approx(total, rel=1e-5)
    assert task.num_targets(batch) == 3
    assert set(scores) == set(task.directions)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_score_is_the_mean_of_the_rows(loss: str) -> None:
    network, examples = adapted_network(), Examples(ROWS, (), TOKENIZER)
    task = preference(f"loss={loss}")
    batch = batch_of(task, ROWS)
    with torch.inference_mode():
        output = task.forward(network, batch)
        observed = task.observe(network, output, batch)
        total = float(task.loss_sum(output, task.with_totals(batch)))
    scores = task.score(observed, examples)
    assert total / 3 == pytest.approx(scores["loss"], abs=1e-5)
    for metric, score in scores.items():
        values = replace(task, metric=metric).row_values(observed, examples)
        assert values is not None and len(values) == 3
        assert sum(values) / 3 == pytest.approx(score, abs=1e-6)
    assert ("implicit_kl" in scores) is (loss in ("dpo", "ipo"))


@pytest.mark.parametrize("chunk", [1, 10**9])
@pytest.mark.parametrize("loss", LOSSES)
def test_micro_batches_have_the_gradients_of_the_whole_batch(
    loss: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_modules.text.loss._CHUNK_ON_CPU", chunk)
    task, found = preference(f"loss={loss}"), []
    for sizes in ((3,), (1, 2)):
        network = adapted_network()
        network.base_model.model.lm_head.weight.requires_grad_(requires_grad=True)
        batch = task.with_totals(batch_of(task, ROWS))
        start = 0
        for size in sizes:
            micro = {name: tensor[start : start + size] for name, tensor in batch.items()}
            output = task.forward(network, micro)
            (task.loss_sum(output, micro) / task.num_targets(batch)).backward()
            start += size
        trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        found.append({name: parameter.grad for name, parameter in trained.items()})
    assert found[0] and found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert gradient is not None and gradient.abs().max() > 0, name
        torch.testing.assert_close(gradient, found[1][name], atol=1e-6, rtol=1e-4)


def test_the_gradient_through_each_loss_is_that_of_all_logits() -> None:
    labels = torch.tensor([[IGNORED, 5, 6, 7], [8, IGNORED, IGNORED, 9]])
    inputs = {"input_ids": torch.tensor([[1, 2, 5, 6], [1, 2, 3, 4]])}
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.1])
    found = []
    for chunk in (1, None):
        network = plain_network()
        losses = target_losses(network, inputs, labels, chunk_values=chunk, each=True)
        (losses.nats * weights).square().sum().backward()
        found.append([parameter.grad for parameter in network.parameters()])
    network = plain_network()
    logits = network(**inputs).logits.flatten(0, 1)
    nats = torch.nn.functional.cross_entropy(logits, labels.flatten(), reduction="none")
    (nats[labels.flatten() != IGNORED] * weights).square().sum().backward()
    for place, parameter in enumerate(network.parameters()):
        for gradients in found:
            torch.testing.assert_close(gradients[place], parameter.grad, atol=1e-4, rtol=1e-4)


def test_a_conversation_is_asked_like_the_text_that_its_template_writes() -> None:
    talk = {
        "text": [{"role": "user", "content": "Why?"}],
        "chosen": [{"role": "assistant", "content": "So"}],
        "rejected": [{"role": "assistant", "content": "No"}],
    }
    (ids,) = preference().encode([talk], TOKENIZER, 99, ())["input_ids"]
    written = TOKENIZER.decode(ids[::2], skip_special_tokens=False)
    assert written.startswith("<|user|>\nWhy?") and written.endswith("<|assistant|>\nSo")
    whole = {name: [*talk["text"], *talk[name]] for name in ("chosen", "rejected")}
    assert preference().encode([whole], TOKENIZER, 99, ())["input_ids"] == [ids]


TALK = {
    "text": [{"role": "user", "content": "Why?"}],
    "chosen": [{"role": "assistant", "content": "So"}],
    "rejected": [{"role": "assistant", "content": "No"}],
}
SYSTEM = {"role": "system", "content": "Be kind."}


@pytest.mark.parametrize("task", ["preference", "reward"])
def test_a_system_message_leads_conversations_that_have_none(task: str) -> None:
    words = (f"task={task}", "model=tiny", "data=files", "data.train=x")
    plain = build_run(compose("train", words).tree).task
    led = build_run(compose("train", [*words, "data.system=Be kind."]).tree).task
    own = {**TALK, "text": [SYSTEM, *TALK["text"]]}
    whole = {name: [*TALK["text"], *TALK[name]] for name in ("chosen", "rejected")}
    expected = plain.encode([own], TOKENIZER, 99, ())
    assert led.encode([TALK], TOKENIZER, 99, ()) == expected
    assert led.encode([whole], TOKENIZER, 99, ()) == expected
    assert led.encode([own], TOKENIZER, 99, ()) == expected
    asked = {name: TALK[name] for name in TALK if name not in led.label_fields}
    own_asked = {**asked, "text": own["text"]}
    found = [
        t.encode_unlabelled([r], TOKENIZER, 99, ()) for t, r in ((led, asked), (plain, own_asked))
    ]
    assert found[0] == found[1]
    assert "Be kind." in list(led.texts(TALK))
    led.labels(Corpus({"train": [TALK]}))
    with pytest.raises(DataError) as raised:
        led.labels(Corpus({"train": [TALK], "validation": ROWS}))
    assert str(raised.value) == (
        "data.system: must be null for the texts of validation, which are no conversations, got "
        "'Be kind.'. Write it in task.template."
    )


def run_of(here: Path, *words: str, rows: int = 40) -> Any:
    path = here / "pairs.jsonl"
    if not path.is_file():
        found = [
            {"prompt": f"Item {n}?", "chosen": f"{n} is great.", "rejected": f"{n} is awful."}
            for n in range(rows)
        ]
        write_jsonl(path, found)
    fixed = ("task=preference", "model=tiny", "model.kind=decoder", "model.width=16", "logger=none")
    data = ("data=files", f"data.train={path}", "data.test_fraction=0", "data.batch_size=8")
    brief = ("trainer.epochs=2", "trainer.validations_per_epoch=1", "trainer.precision=fp32")
    return build_run(compose("train", [*fixed, *data, *brief, *words]).tree)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("strategy", "is_kept"),
    [("lora", False), ("lora strategy.init=pissa", True), ("full", True), ("prompt_tuning", False)],
)
def test_the_reference_is_the_network_before_the_training(
    strategy: str, is_kept: bool, here: Path
) -> None:
    chosen = f"strategy={strategy}".split()
    run = run_of(here, *chosen, "optimizer.lr=1e-2", "trainer.epochs=3")
    (here / "run").mkdir()
    outcome = fit(run, here / "run", Identity("x", None, here / "run"))
    assert outcome.best is not None and outcome.best.metrics["implicit_kl"] != 0
    assert (here / "run" / REFERENCE_FILE).is_file() is is_kept
    rows = check_run(run).corpus.splits["validation"]
    found = Trained(run, here / "run", "", {}, "").load().score(rows)
    assert found == pytest.approx(dict(outcome.best.metrics), abs=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_to_prefer(loss: str, here: Path) -> None:
    words = (f"task.loss={loss}", f"task.beta={2 if loss == 'simpo' else 0.1}")
    run = run_of(here, *words, "strategy=full", "optimizer.lr=1e-2", "trainer.epochs=4")
    (here / "run").mkdir()
    outcome = fit(run, here / "run", Identity("x", None, here / "run"))
    assert outcome.best is not None
    assert outcome.best.metrics["reward_accuracy"] == 1
    assert (here / "run" / REFERENCE_FILE).is_file() is (loss in ("dpo", "ipo"))
    assert ("implicit_kl" in outcome.best.metrics) is (loss in ("dpo", "ipo"))


def test_dropout_is_off() -> None:
    config = transformers.GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1)
    network = transformers.GPT2LMHeadModel(config)
    preference().configure_network(network)
    network.train()
    ids = torch.arange(10)[None]
    assert torch.equal(network(ids).logits, network(ids).logits)


def test_rows_of_one_prompt_go_to_the_same_split(here: Path) -> None:
    rows = [
        {"prompt": f"Item {n // 4}?", "chosen": f"yes {n}", "rejected": f"no {n}"}
        for n in range(80)
    ]
    write_jsonl(here / "pairs.jsonl", rows)
    splits = check_run(run_of(here)).corpus.splits
    train, validation = ({row["text"] for row in splits[name]} for name in ("train", "validation"))
    assert train and validation and not train & validation


def test_what_is_odd_about_the_rows_is_said() -> None:
    rows = [{"text": "Q", "chosen": " yes", "rejected": " no"}] * 3
    equal = [{"text": "Q", "chosen": " yes", "rejected": " yes"}]
    notes = list(preference("loss=simpo").notes({"train": rows + equal}))
    assert notes == [
        "1 of 4 training pairs have two equal answers, which teach nothing",
        "answers start with a space, and task.template ends with one: "
        "set 'task.template=\"{text}\"' to write one alone",
        "task.beta=0.1 is low for simpo: its paper has 2 to 2.5",
    ]
    assert not list(preference().notes({"train": ROWS}))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("beta=0",), "task.beta: must be > 0, got 0"),
        (("simpo_gamma=-1",), "task.simpo_gamma: must be >= 0"),
        (("loss=kto",), "task.loss: must be one of dpo, ipo, orpo, simpo"),
        (("metric=accuracy",), "task.metric: must be one of reward_accuracy"),
        (("metric=implicit_kl", "loss=orpo"), "task.metric: must be another for loss=orpo"),
        (("template=Question",), "task.template: must hold {text}"),
        (("max_new_tokens=0",), "task.max_new_tokens: must be > 0"),
        (("system=' '",), "task.system: must not be empty, got ' '. Set data.system=null."),
    ],
)
def test_settings_are_checked(words: tuple[str, ...], line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        preference(*words)
    assert line in str(refusal.value)
    assert len(refusal.value.problems) == 1


def test_columns_are_named(here: Path) -> None:
    write_jsonl(here / "pairs.jsonl", [{"better": f"a {n}", "worse": f"b {n}"} for n in range(40)])
    named = ("data.text=null", "task.chosen=better", "task.rejected=worse")
    rows = check_run(run_of(here, *named)).corpus.splits["train"]
    assert set(rows[0]) == {"chosen", "rejected"}
    with pytest.raises(ConfigError, match=r"task\.chosen: must be a column of .*, got 'chosen'"):
        check_run(run_of(here, "data.text=null", "task.rejected=worse"))
    with pytest.raises(ConfigError, match=r"data\.text: must be a column"):
        check_run(run_of(here, *named[1:]))


def test_a_row_that_is_no_pair_is_refused_with_its_line(here: Path) -> None:
    rows = [{"prompt": "Q", "chosen": "yes", "rejected": "no"}] * 3
    talk = [{"role": "assistant", "content": "no"}]
    write_jsonl(here / "pairs.jsonl", [*rows, {"prompt": "Q", "chosen": "yes", "rejected": talk}])
    with pytest.raises(ConfigError, match=r"pairs\.jsonl:4:rejected: must be a text if chosen is"):
        check_run(run_of(here))


def test_the_worst_pairs_are_shown() -> None:
    task = preference()
    observed = {
        "reward_chosen_B": torch.tensor([0.0, 1.0, -2.0]),
        "reward_rejected_B": torch.tensor([1.0, 0.0, 1.0]),
        "loss_B": torch.zeros(3),
    }
    table = task.tables(observed, Examples(ROWS, (), TOKENIZER))[MISTAKES]
    assert [record["prompt"] for record in table] == ["Why?", "Two and two?"]
    assert table[0]["reward_chosen"] == -2 and table[0]["rejected"] == "No"


def test_a_guess_by_length_is_the_score_to_beat() -> None:
    found = TASK.baseline(ROWS)
    assert found is not None
    assert (found.guess, found.score) == ("always the longer answer", 0.5)
    longer = TASK.baseline(ROWS[1:2])
    assert longer is not None and longer.score == 1
    examples = Examples(ROWS, (), TOKENIZER)
    for metric, score in (("reward_accuracy", 0.5), ("log_loss", math.log(2)), ("brier", 0.25)):
        coin = replace(TASK, metric=metric).constant_guess(examples)
        assert coin is not None and (coin.guess, coin.score) == ("a coin", score)
    assert replace(TASK, metric="reward_chosen").constant_guess(examples) is None


def test_an_export_without_the_reference_is_refused() -> None:
    task = preference()
    with pytest.raises(
        ConfigError,
        match="compares with the model before training",
    ):
        task.forward(plain_network(), batch_of(task, ROWS))


def test_trials_that_differ_in_the_loss_share_rows_and_networks() -> None:
    keys = {
        preference(f"loss={loss}", f"beta={0.1 + at}").cache_key for at, loss in enumerate(LOSSES)
    }
    assert len(keys) == 1
    assert preference("template='{text} '").cache_key not in keys


def test_the_reference_is_kept_with_the_examples() -> None:
    task, network = preference(), adapted_network()
    batch = batch_of(task, ROWS)
    with torch.inference_mode():
        alone = task.forward(network, batch)
        kept = task.reference(copy.deepcopy(network).unload(), batch)
        given = task.forward(network, {**batch, **kept})
    assert kept[REFERENCE].shape == (3, 2)
    for one, other in ((alone.chosen, given.chosen), (alone.rejected, given.rejected)):
        torch.testing.assert_close(one.reference, other.reference)
