from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_modules.error import ConfigError
from search.config import build_run, compose
from search.config.tree import CONF_DIR, _files, compose_tree, hydra_ready


def test_experiment_may_be_null() -> None:
    assert compose("sweep", ["experiment=null"]).tree == compose("sweep", []).tree


@pytest.fixture
def config_dir(here: Path) -> Path:
    (here / "mine/strategy").mkdir(parents=True)
    (here / "mine/strategy/gentle.yaml").write_text(
        "_target_: lightning_modules.strategy.full.Full\nlr: 1e-5\nlr_min: 1e-6\nlr_max: 1e-4\n"
    )
    return here / "mine"


def test_config_dir_adds_an_option(config_dir: Path) -> None:
    composition = compose("sweep", ["strategy=gentle"], config_dir)
    assert build_run(composition.tree).strategy.lr == 1e-5
    assert composition.space["optimizer.lr"] == "tag(log, interval(1e-06, 0.0001))"


def test_config_dir_keeps_the_built_in_options(config_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"one of adalora, .*, full, gentle, ia3, "):
        compose("sweep", ["strategy=x"], config_dir)


def test_config_dir_applies_to_one_composition_only(config_dir: Path) -> None:
    compose("sweep", ["strategy=gentle"], config_dir)
    with pytest.raises(ConfigError, match=r"one of adalora, .*, full, ia3, "):
        compose("sweep", ["strategy=gentle"])


def test_an_option_that_has_changed_is_read_again(config_dir: Path) -> None:
    def lr() -> float:
        strategy: Any = build_run(compose("train", ["strategy=gentle"], config_dir).tree).strategy
        return float(strategy.lr)

    assert lr() == lr() == 1e-5
    option = config_dir / "strategy/gentle.yaml"
    option.write_text(option.read_text().replace("lr: 1e-5", "lr: 0.00002"))
    assert lr() == 2e-5
    with hydra_ready(config_dir):
        read = {Path(name) for name, *_ in _files()}
    assert read == {option, *CONF_DIR.rglob("*.yaml")}
    option.unlink()
    with pytest.raises(ConfigError, match="strategy: must be one of "):
        lr()


def test_a_link_to_nothing_is_no_option(config_dir: Path) -> None:
    (config_dir / "strategy/.#gentle.yaml").symlink_to("me@host.1:2")  # as Emacs locks a file
    assert compose("train", ["strategy=gentle"], config_dir).tree


def test_what_is_done_to_a_composed_tree_stays_there() -> None:
    with hydra_ready(None):
        tree, options = compose_tree("train", ["strategy=full"])
        tree.seed, options["strategy"] = 99, "lora"
        again, again_options = compose_tree("train", ["strategy=full"])
    assert again.seed != 99 and again_options["strategy"] == "full"


@pytest.mark.parametrize("name", ["sweep", "train"])
def test_a_mapping_may_have_new_keys(name: str) -> None:
    words = ["strategy=peft", "strategy.method=vera", "strategy.options={r: 4, d_initial: 0.2}"]
    strategy: Any = build_run(compose(name, words).tree).strategy
    assert strategy.options == {"r": 4, "d_initial": 0.2}
    words = ["model=architecture", "model.type=gpt2", "model.config={n_layer: 2}"]
    model: Any = build_run(compose(name, words).tree).model
    assert model.config == {"n_layer": 2}


def test_config_dir_must_be_a_folder(here: Path) -> None:
    with pytest.raises(ConfigError, match="--config-dir: must be a folder"):
        compose("sweep", [], here / "nowhere")


def test_a_mapping_may_have_keys_chosen_by_the_user() -> None:
    words = ["strategy=prompting", "strategy.label_words={positive: good}"]
    strategy: Any = build_run(compose("train", words).tree).strategy
    assert strategy.label_words == {"positive": "good"}
    with pytest.raises(ConfigError, match=r"strategy.num_shots: must be a whole number"):
        build_run(compose("train", ["strategy=prompting", "strategy.num_shots={a: 3}"]).tree)
