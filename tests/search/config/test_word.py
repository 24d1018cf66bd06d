"""Words of the command line stay as they were typed, for keys whose value is text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_modules.error import ConfigError
from search.config import build_run, completed, compose, compose_free, literal, typed_name
from search.config.override import parse_override
from search.config.word import hint_of, typed_words

WORDS = (
    *("62e4123", "71e9912", "1e-4", "1.0e-4", "2024_01_01", "1e3", "007", "1_0", "2024", "0.10"),
    *("true", "False", "inf", "nan", "-1", "+5", "none", "Nan", ".5", "5."),
)


def value(*overrides: str) -> Any:
    tree = compose("sweep", overrides).tree
    path = overrides[-1].partition("=")[0]
    for name in path.split("."):
        tree = tree[name]
    return tree


@pytest.mark.parametrize("word", WORDS)
def test_a_name_is_the_word_that_was_typed(word: str) -> None:
    assert compose("sweep", [f"study={word}"]).tree["study"] == word
    assert typed_name(f"study={word}") == word
    assert (
        compose_free(
            [f"study={word}", "search.direction=minimize", "search.metric=m", "x=interval(0,1)"]
        ).tree["study"]
        == word
    )


@pytest.mark.parametrize("word", ["1e-4", "2024_01_01", "true", "007"])
@pytest.mark.parametrize(
    "key", ["data.text", "data.label", "data.train", "logger.project", "logger.entity"]
)
def test_every_key_that_is_text_keeps_it(key: str, word: str) -> None:
    tree = compose("train", ["run=x", "data=files", "data.train=x.csv", f"{key}={word}"]).tree
    run = build_run(tree)
    assert getattr(getattr(run, key.split(".", maxsplit=1)[0]), key.split(".")[1]) == word


def test_a_run_keeps_it_and_null_is_no_name() -> None:
    assert compose("train", ["run=1e-4"]).tree["run"] == "1e-4"
    assert compose("train", ["run=null"]).tree["run"] is None
    assert compose("sweep", ["study=null"]).tree["study"] == "null"


def test_null_empties_a_key_that_may_be_empty() -> None:
    assert value("data=files", "data.text_pair=null") is None
    assert value("data=files", "data.text_pair='null'") == "null"


def test_numbers_stay_numbers() -> None:
    assert value("optimizer.lr=1e-4") == 1e-4
    assert value("data.batch_size=8") == 8
    assert value("trainer.gradient_checkpointing=true") is True


@pytest.mark.parametrize(
    "word",
    ["data (1).csv", "übung.csv", "it's", "{instruction}\\n{input}", "[INST] {text} [/INST]"],
)
def test_text_that_the_grammar_cannot_read_is_taken_as_it_is(word: str) -> None:
    assert value("data=files", f"data.train={word}") == word


def test_a_number_that_the_grammar_cannot_read_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr: must follow Hydra's override grammar"):
        compose("sweep", ["optimizer.lr=(1"])


def test_a_broken_range_is_no_text() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.targets: must follow Hydra's"):
        compose("sweep", ["strategy.targets=choice(attention,"])


def test_lists_and_mappings_of_text_keep_their_words() -> None:
    tree = compose("sweep", ["search.objectives=[1e3, seconds]"]).tree
    assert tree["search"]["objectives"] == ["1e3", "seconds"]
    words = ["strategy=prompting", "strategy.label_words={007: 1e3, yes: true}"]
    assert value(*words) == {"007": "1e3", "yes": "true"}


def test_a_range_over_text_keeps_its_words() -> None:
    space = compose("sweep", ["strategy.targets=choice(1e3,attention)"]).space
    assert space["strategy.targets"] == "choice('1e3',attention)"


def test_yaml_that_reads_a_text_as_a_number_is_refused(here: Path) -> None:
    (here / "mine/experiment").mkdir(parents=True)
    text = "# @package _global_\nstudy: 62e4123\nlogger:\n  project: true\n"
    (here / "mine/experiment/odd.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        compose("sweep", ["experiment=odd"], here / "mine")
    assert sorted(str(refused.value).splitlines()) == [
        "logger.project: must be text; YAML reads it as true or false, got True. Write it in "
        'quotes in the YAML file, e.g. project: "...".',
        "study: must be text; YAML reads it as a number, got inf. Write it in quotes in the YAML "
        'file, e.g. study: "...".',
    ]


def test_a_stored_number_is_the_text_that_it_was_read_as() -> None:
    tree = compose("sweep", ["data=files", "data.train=x.csv"]).tree
    tree["data"] = {**tree["data"], "label": 2024}
    assert completed(tree)["data"]["label"] == "2024"
    assert tree["data"]["label"] == 2024


def test_literals_read_back_as_they_are() -> None:
    values: list[Any] = [
        *WORDS,
        "a b",
        "it's",
        r"\n",
        "a\\'b",
        "\\",
        'say "x"',
        "ü",
        "{x}",
        "",
        "a,b",
    ]
    for each in [*values, values, None, True, 1e-4, {"a b": "007", "c": [1, "1"]}]:
        assert parse_override(f"key={literal(each)}").parsed.value() == each


def test_hints_name_the_types_of_keys() -> None:
    tree = compose("sweep", ["strategy=prompting"]).tree
    assert hint_of(tree, "strategy.label_words.good") is str
    assert hint_of(tree, "search.num_trials") is int
    assert hint_of(tree, "nothing.here") is None


def test_an_entry_of_the_queue_keeps_it_for_keys_that_are_text() -> None:
    tree = compose("sweep", ["data=files", "data.train=x.csv"]).tree
    entries = "[{data.text: 1e-4, optimizer.lr: 1e-4},{data.text: 2024}]"
    found = typed_words(parse_override(f"search.enqueue={entries}"), tree).parsed.value()
    texts = [{key: str(value) for key, value in entry.items()} for entry in found]
    assert texts == [{"data.text": "1e-4", "optimizer.lr": "0.0001"}, {"data.text": "2024"}]
    assert found[0]["optimizer.lr"] == 1e-4
