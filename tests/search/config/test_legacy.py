from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.text.template import filled
from search.config import build_run, build_search, compose
from search.config.legacy import completed

WORDS = ("model=tiny", "logger=none")
FILES = ("data=files", "data.train=a.csv", "model.kind=decoder")


def test_a_missing_key_gets_the_value_of_before() -> None:
    tree = compose("sweep", [*WORDS, "seed=7"]).tree
    old = {**tree, "search": {k: v for k, v in tree["search"].items() if k != "keep"}}
    assert build_search(completed(old, {"search.keep": "${seed}"})).settings.keep == 7
    assert "keep" not in old["search"]


def test_a_key_that_is_there_stays() -> None:
    tree = compose("sweep", WORDS).tree
    assert completed(tree, {"search.keep": 9}) == tree


def test_only_the_option_that_has_the_key_gets_it() -> None:
    trees = {name: compose("train", [*WORDS, f"strategy={name}"]).tree for name in ("lora", "full")}
    for name, tree in trees.items():
        own = {key: value for key, value in tree["strategy"].items() if key != "rank"}
        again = completed({**tree, "strategy": own}, {"strategy.rank": 3})
        assert ("rank" in again["strategy"]) is (name == "lora")
        build_run(again)


@pytest.mark.parametrize("task", ["generation", "preference"])
def test_a_template_of_before_columns_means_what_it_meant(task: str) -> None:
    tree = compose("sweep", [*WORDS, *FILES, f"task={task}"]).tree
    own = {key: value for key, value in tree["task"].items() if key != "system"}
    data = {key: value for key, value in tree["data"].items() if key != "system"}
    template = r"[[{text}]] {input} \n"
    again = completed({**tree, "task": {**own, "template": template}, "data": data})
    assert filled(again["task"]["template"], {"text": "Hi"}) == r"[[Hi]] {input} \n"
    assert again["data"]["system"] is None
    assert completed(again) == again
    build_run(again)


def test_labels_of_a_study_that_began_before_stay_as_they_are_written(here: Path) -> None:
    """The rows, and so their fingerprint, are those of before: True and 0.50 are such labels."""
    words = ("True", "0.50", "4.0", "-0")
    lines = (f"text {n},{words[n % len(words)]}" for n in range(80))
    Path("a.csv").write_text("\n".join(["text,label", *lines]))
    own = (*WORDS, *FILES[:2], "data.max_length=32")
    tree = compose("train", own).tree
    assert tree["data"].pop("spelling") == "value"
    tree["task"]["class_weights"] = {"True": 2.0}
    run = build_run(completed(tree))
    corpus = run.data.load(run.task)
    labels = run.task.labels(corpus)
    assert labels == ("-0", "0.50", "4", "True")
    weights = run.task.fit_to_rows(corpus, labels).class_weights
    assert weights == {"-0": 1.0, "0.50": 1.0, "4": 1.0, "True": 2.0}
    assert not any("read as one label" in note for note in corpus.notes)
    now = build_run(compose("train", own).tree)
    assert now.task.labels(now.data.load(now.task)) == ("0", "0.5", "4", "true")
