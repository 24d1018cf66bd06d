"""Defaults by strategy, and by kind and size of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_modules.error import ConfigError
from lightning_modules.model.kind import Kind
from lightning_modules.model.size import Size
from search.config import CONF_DIR, Composition, build_run, compose
from search.config.prior import Prior, Row
from search.config.prior_table import load_table
from tests.models import models_of

TABLE = load_table([CONF_DIR])
LR = "optimizer.lr"
BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "num_attention_heads": 8,
    "vocab_size": 30_000,
}
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "vocab_size": 32_000,
}


def sizes(width: int, layers: int) -> dict[str, Any]:
    inner = {"intermediate_size": 4 * width}
    return {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 8, **inner}


FOLDERS: dict[str, dict[str, Any]] = {
    "small encoder": BERT | sizes(384, 6),
    "base encoder": BERT | sizes(768, 12),
    "large encoder": BERT | sizes(1536, 24),
    "decoder to 12B": LLAMA | sizes(2048, 16),
    "large decoder": LLAMA | sizes(8192, 48),
    "mixture of experts": LLAMA | sizes(2048, 16) | {"num_experts": 64},
    "encoder-decoder": {"model_type": "t5", "is_encoder_decoder": True, "vocab_size": 32_000}
    | sizes(512, 6),
    "any model": {"model_type": "bert", "architectures": ["BertModel"]},
}
OF_A_TASK = {"preferences", "similarity", "retrieval"}  # for any model
OF_FULL = {"decoder to 12B": "decoder", "large decoder": "decoder", "mixture of experts": "decoder"}


def composed(*words: str) -> Composition:
    return compose("sweep", ["study=s", *words])


def prior_of(*words: str) -> Prior:
    (arm,) = composed(*words).arms
    assert arm.prior is not None
    return arm.prior


@pytest.mark.parametrize("row", FOLDERS)
def test_every_row_makes_a_valid_run(row: str, here: Path) -> None:
    (here / "model").mkdir()
    (here / "model/config.json").write_text(json.dumps(FOLDERS[row]), encoding="utf-8")
    words = ("model=hub", "model.path=model", "strategy=choice(lora,full,feature_extraction,qlora)")
    rows = {"full": OF_FULL.get(row, row), "feature_extraction": "any model"}
    for arm in composed(*words).arms:
        run, name = build_run(arm.tree), arm.choice["strategy"]
        assert arm.prior is not None
        assert arm.prior.name == f"{name}, {rows.get(name, row)}"
        assert run.strategy.lr_min < run.strategy.lr == run.optimizer.lr < run.strategy.lr_max
        # A strategy with one row for all models has nothing to say of a model that is unknown.
        assert bool(arm.prior.note) == (row == "any model" and name != "feature_extraction")
        for values in arm.prior.also:
            assert build_run(arm.tree, values).optimizer.lr == values[LR]
            assert run.strategy.lr_min <= values[LR] <= run.strategy.lr_max


def test_every_strategy_of_the_table_ends_with_a_row_for_any_model() -> None:
    for strategy, rows in TABLE.rows.items():
        assert rows[-1].fits == {}, strategy
        keys = [row.values.keys() for row in rows]
        assert all(each == keys[0] for each in keys), strategy


def test_every_row_can_be_reached() -> None:
    assert {row.name for row in TABLE.rows["lora"]} == {*FOLDERS, *OF_A_TASK}
    reached = {OF_FULL.get(name, name) for name in FOLDERS}
    assert {row.name for row in TABLE.rows["full"]} == {*reached, *OF_A_TASK}
    assert TABLE.rows["qlora"] == TABLE.rows["lora"]


@pytest.mark.parametrize("kind", Kind)
def test_named_models_are_of_the_kind_that_their_file_states(kind: Kind) -> None:
    for name in models_of(kind):
        path = yaml.safe_load((CONF_DIR / f"model/{name}.yaml").read_text()).get("path")
        known = TABLE.models[path or "sentence-transformers/all-MiniLM-L6-v2"]
        assert known[0] is kind, name


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "lora, small encoder: lr 0.001 (0.0005 to 0.005), rank 8, alpha 16"),
        (("strategy=full",), "full, small encoder: lr 0.0002 (5e-05 to 0.0005)"),
        (("model=bert", "strategy=full"), "full, base encoder: lr 5e-05 (1e-05 to 0.0002)"),
        (("model=llama",), "lora, decoder to 12B: lr 0.0003 (5e-05 to 0.0015), rank 16, alpha 32"),
        (("model=tiny", "model.kind=decoder", "strategy=full"), "full, decoder: lr 2e-05 (5e-06"),
        (
            ("model=llama", "task=preference"),
            "lora, preferences: lr 5e-06 (1e-06 to 5e-05), rank 16, alpha 32",
        ),
        (
            ("model=llama", "task=preference", "strategy=full"),
            "full, preferences: lr 1e-06 (5e-07 to 5e-06)",
        ),
        (("task=similarity",), "lora, similarity: lr 0.0005 (0.0001 to 0.002), rank 8, alpha 16"),
        (("task=retrieval",), "lora, retrieval: lr 0.0002 (5e-05 to 0.001), rank 8, alpha 16"),
        (("task=similarity", "strategy=full"), "full, similarity: lr 5e-05 (1e-05 to 0.0002)"),
        (("task=retrieval", "strategy=full"), "full, retrieval: lr 2e-05 (5e-06 to 0.0001)"),
        (("strategy=feature_extraction",), "feature_extraction, any model: lr 0.01 (0.001 to 0.1)"),
        # What the user sets is no longer from the table.
        (("strategy.lr=3e-3", "strategy.rank=4"), "lora, small encoder: lr 0.0005 to 0.005, alpha"),
        ((f"{LR}=3e-3",), "lora, small encoder: rank 8, alpha 16"),
        ((f"{LR}=interval(1e-4,1e-3)",), "lora, small encoder: lr 0.001, rank 8, alpha 16"),
    ],
)
def test_the_text_says_what_was_taken(words: tuple[str, ...], text: str) -> None:
    assert prior_of(*words).text.startswith(text)


def test_a_run_has_the_same_defaults() -> None:
    (arm,) = compose("train", ["run=r", "model=llama"]).arms
    assert (
        arm.prior is not None
        and arm.prior.text == "lora, decoder to 12B: lr 0.0003, rank 16, alpha 32"
    )
    assert build_run(arm.tree).optimizer.lr == 3e-4


def test_a_value_of_the_user_wins() -> None:
    (arm,) = composed("strategy.lr=1e-2", "strategy.lr_max=1").arms
    assert arm.space[LR] == "tag(log, interval(0.0005, 1))"
    assert build_run(arm.tree).optimizer.lr == 1e-2
    assert composed("strategy.lr=1e-2", "strategy.lr=auto").tree["strategy"]["lr"] == 1e-3


def test_other_strategies_keep_their_values() -> None:
    (arm,) = composed("strategy=adalora").arms
    assert arm.prior is None and arm.tree["strategy"]["lr"] == 1e-3
    assert composed("experiment=smoke").arms[0].prior is None  # it sets every value
    tree = composed("strategy=adalora", "strategy.lr=auto").tree
    with pytest.raises(ConfigError, match=r"^strategy\.lr: must be a number, got 'auto'"):
        build_run(tree)


def test_a_strategy_file_of_the_user_keeps_its_values(here: Path) -> None:
    (here / "strategy").mkdir()
    target = "_target_: lightning_modules.strategy.full.Full\n"
    text = target + "lr: 1e-5\nlr_min: 1e-6\nlr_max: 1e-4\n"
    (here / "strategy/gentle.yaml").write_text(text, encoding="utf-8")
    (here / "strategy/known.yaml").write_text(text.replace("1e-5", "auto"), encoding="utf-8")
    (gentle,) = compose("sweep", ["strategy=gentle"], here).arms
    assert gentle.prior is None and build_run(gentle.tree).optimizer.lr == 1e-5
    (known,) = compose("sweep", ["strategy=known"], here).arms  # the class decides, not the file
    assert known.prior is not None and known.prior.text == "full, small encoder: lr 0.0002"
    assert known.space[LR] == "tag(log, interval(1e-06, 0.0001))"


def test_every_arm_has_its_own() -> None:
    arms = composed("model=choice(minilm,llama)", "strategy=choice(lora,full)").arms
    assert [arm.prior.name for arm in arms if arm.prior is not None] == [
        "lora, small encoder",
        "full, small encoder",
        "lora, decoder to 12B",
        "full, decoder",
    ]
    assert len({arm.space[LR] for arm in arms}) == 4


def test_a_task_has_epochs_of_its_own() -> None:
    expected = {"others": 2, "preference": 1, "regression": 4, "similarity": 4}
    assert expected == TABLE.epochs
    usual, own = composed("model=llama"), composed("model=llama", "task=preference")
    longer = composed("task=similarity")
    for composition, epochs in ((usual, 2), (own, 1), (longer, 4)):
        (arm,) = composition.arms
        assert arm.epochs == arm.tree["trainer"]["epochs"] == epochs
        assert arm.space["trainer.epochs"] == f"range(1, {epochs + 2})"
        assert Composition.from_dict(composition.as_dict()).arms == composition.arms


@pytest.mark.parametrize(
    ("task", "suits"), [("preference", True), ("classification", False), ("", False)]
)
def test_a_row_suits_its_task_alone(task: str, suits: bool) -> None:
    assert Row("row", {"task": "preference"}).suits(None, None, task) is suits
    both = Row("row", {"task": "preference", "kind": "decoder"})
    assert both.suits(Kind.decoder, Size(1e6), task) is suits
    assert not both.suits(Kind.encoder, Size(1e6), task)


@pytest.mark.parametrize(
    ("fits", "kind", "size", "suits"),
    [
        ({}, None, None, True),
        ({"kind": "encoder"}, None, None, False),
        ({"kind": "encoder"}, Kind.encoder, None, False),
        ({"kind": "encoder"}, Kind.decoder, Size(1e6), False),
        ({"kind": "encoder", "up_to": 30e6}, Kind.encoder, Size(30e6), True),
        ({"kind": "encoder", "up_to": 30e6}, Kind.encoder, Size(30e6 + 1), False),
        ({"kind": "decoder", "experts": True}, Kind.decoder, Size(1e9), False),
        ({"kind": "decoder", "experts": True}, Kind.decoder, Size(1e9, experts=True), True),
        ({"kind": "decoder"}, Kind.decoder, Size(1e9, experts=True), True),
    ],
)
def test_a_row_suits(
    fits: dict[str, Any], kind: Kind | None, size: Size | None, suits: bool
) -> None:
    assert Row("row", fits).suits(kind, size) is suits


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        (
            "bitfit: {m: {fits: {kind: decoder}, values: {lr: 1e-3}}}",
            ("strategy=bitfit", "strategy.lr=auto"),
            "prior.yaml: must have a row of bitfit for this encoder",
        ),
        ("lora: {m: {fits: {}, values: null}}", (), "lora.m: must have a mapping of values"),
        ("lora: {m: {fits: {}, also: 3}}", (), "lora.m: must have a mapping of values"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    here: Path, text: str, words: tuple[str, ...], line: str
) -> None:
    (here / "prior.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=line):
        compose("sweep", ["study=s", *words], here)


MINE = "lora:\n  mine:\n    fits: {kind: encoder}\n    values: {lr: 7e-4, rank: 3VALUES}\n"


def test_rows_of_the_user_are_asked_first(here: Path) -> None:
    text = MINE.replace("VALUES", ", lr_min: 5e-4, lr_max: 1e-3, alpha: 6")
    (here / "prior.yaml").write_text(text, encoding="utf-8")
    (arm,) = compose("sweep", [], here).arms
    assert arm.prior is not None and arm.prior.name == "lora, mine"
    assert arm.tree["strategy"]["rank"] == 3 and arm.tree["strategy"]["lr"] == 7e-4
    assert build_run(arm.tree)


def test_an_incomplete_row_says_what_to_add(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()  # tables are kept by their folders
    (tmp_path / "before/prior.yaml").write_text(MINE.replace("VALUES", ""), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        compose("sweep", [], tmp_path / "before")
    rule, _, fix = str(caught.value).partition(". Add ")
    assert rule == (
        "prior.yaml.lora.mine.values: must have lr, lr_min, lr_max, rank, alpha, which lora takes "
        "from it, got lr, rank"
    )
    missing, _, other = fix.partition(" (as row 'small encoder' has), or set ")
    assert other == "strategy.lr_min, strategy.lr_max, strategy.alpha."
    (tmp_path / "after").mkdir()
    text = MINE.replace("VALUES", f", {missing}")
    (tmp_path / "after/prior.yaml").write_text(text, encoding="utf-8")
    (arm,) = compose("sweep", [], tmp_path / "after").arms
    assert build_run(arm.tree)
    words = [f"{key.strip(' .')}=1" for key in other.split(",")]
    (arm,) = compose("sweep", ["strategy.lr=1", *words], tmp_path / "before").arms
    assert arm.tree["strategy"]["rank"] == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lora: {mine: {fits: {kind: encodr}}}", "lora.mine.fits.kind: must be one of encoder,"),
        ("lora: {mine: {fits: {kind: encoder, upto: 3}}}", "upto: must be a known key, got upto."),
        ("lora: {mine: {fits: {up_to: 3e6}}}", "lora.mine.fits: must have kind, got"),
        ("lora: {mine: {fits: {kind: encoder, up_to: big}}}", "must be a number of parameters > 0"),
        ("lora: {mine: {values: {lr: 1e-3}}}", "lora.mine: must have the keys fits, values, also"),
        (
            "lora: {mine: {fits: {}, value: {lr: 1}}}",
            "mine.value: must be a known key, got value. Di",
        ),
        (
            "lora: {mine: {fits: {}, values: {lr: fast}}}",
            "values.lr: must be a number > 0, got 'fast'",
        ),
        (
            "lora: {mine: {fits: {}, values: {lr: 1, lr_min: 2, lr_max: 3}}}",
            "lora.mine.values.lr: must be from lr_min=2 to lr_max=3, got 1.",
        ),
        (
            "lora: {mine: {fits: {}, also: [3e-4]}}",
            "also.0: must map config paths to values, got 0.0",
        ),
        ("models: {mine: {kind: encoder}}", "models.mine: must have kind and parameters, got"),
        ("- 1", "rows: must be a mapping for each strategy, got [1]."),
        (
            "lorra: {m: {fits: {}}}",
            "lorra: must be a strategy that has a file in strategy/, got 'lorra'.",
        ),
        ("same: {qlorra: lora}", "in strategy/, got 'qlorra'. Did you mean qlora?"),
        ("same: {qlora: lorra}", "in strategy/, got 'lorra'. Did you mean lora?"),
        (
            "steps: {mine: 3}",
            "steps.mine: must be a strategy that has a file in strategy/, got 'mine'.",
        ),
        ("epochs: {mine: 3}", "epochs.mine: must be a task that has a file in task/, got 'mine'."),
        ("epochs: {preference: 0}", "epochs.preference: must be a whole number > 0, got 0"),
        (
            "lora: {mine: {fits: {task: preferences}}}",
            "fits.task: must be a task that has a file in task/, got 'preferences'. Did you mean",
        ),
        (
            "lora: {mine: {fits: {}, values: {alhpa: 3}}}",
            "mine.values.alhpa: must be a setting of the strategy, got 'alhpa'. Did you mean alpha",
        ),
        ("lora: {", "prior.yaml: must be YAML, got while parsing"),
    ],
)
def test_mistakes_in_a_table_are_named(text: str, expected: str, here: Path) -> None:
    (here / "prior.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        compose("sweep", [], here)
    assert expected in str(caught.value)
