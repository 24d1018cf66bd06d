"""Conformance of every hub model with every strategy, on small random networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError
from lightning_modules.model.kind import Kind
from lightning_modules.model.state import count_parameters, restore_state, trained_state
from lightning_modules.network import build_network, check_architecture
from lightning_modules.run import Run
from search.config import CONF_DIR, build_run, compose
from tests.conftest import loaded_network, write_jsonl
from tests.cut import assert_cut_is_whole
from tests.lightning_modules.model import test_decoder, test_hub, test_hub_writing
from tests.lightning_modules.strategy.test_strategy import shake
from tests.models import models_of
from tests.options import names_of, needed_by

LABELS = ("negative", "positive")
TASK = {
    Kind.encoder: "classification",
    Kind.decoder: "generation",
    Kind.encoder_decoder: "summarization",
}
KINDS = {name: kind for kind in TASK for name in models_of(kind) if name != "minilm"}
# Tested in test_qlora.py and test_prompting.py.
ELSEWHERE = {"qlora", "prompting"}
STRATEGIES = sorted({*names_of("strategy")} - ELSEWHERE)
VIRTUAL = {"prompt_tuning", "prefix_tuning"}
WRITES = [name for name, kind in KINDS.items() if kind is not Kind.encoder]
NO_BIASES = ("modernbert", "smollm2", "llama", "qwen3", "gemma", "t5", "flan_t5")
NO_PREFIXES = ("distilbert", "deberta", "modernbert")
REFUSED = {
    **{(name, "feature_extraction"): "strategy: strategy=feature_extraction" for name in WRITES},
    **{(name, "bitfit"): "model: must have biases" for name in NO_BIASES},
    **{(name, "prefix_tuning"): "strategy: must be a method that can" for name in NO_PREFIXES},
}
# The others differ less between architectures.
EACH_TIME = {"full", "lora", "bitfit", "prefix_tuning"}
PAIRS = [
    pytest.param(name, strategy, marks=() if strategy in EACH_TIME else pytest.mark.slow)
    for name in KINDS
    for strategy in STRATEGIES
]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Run]:
    rows = [
        {"text": text, "label": LABELS[number % 2], "document": text, "summary": text[:20]}
        for number, text in enumerate(test_hub.TEXTS[:64])
    ]
    file = write_jsonl(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows)

    @cache
    def folder_of(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        auto: Any = transformers.AutoModelForMaskedLM
        if KINDS[name] is Kind.decoder:
            auto = transformers.AutoModelForCausalLM
            config = test_decoder.config_of(name, test_decoder.write_tokenizer(name, folder))
        elif KINDS[name] is Kind.encoder_decoder:
            auto = transformers.AutoModelForSeq2SeqLM
            config = test_hub_writing.ARCHITECTURES[name](folder)
        else:
            config = test_hub.ARCHITECTURES[name](folder)
        auto.from_config(config).save_pretrained(folder)
        return folder

    @cache
    def make(name: str, strategy: str) -> Run:
        model = (f"model={name}", f"model.path={folder_of(name)}", f"strategy={strategy}")
        data = ("data=files", f"data.train={file}", "data.batch_size=8", "data.max_length=24")
        short = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "trainer.precision=fp32")
        task = TASK[KINDS[name]]
        brief = () if task == "classification" else ("task.max_new_tokens=4",)
        chosen = (f"task={task}", "logger=none", *needed_by(strategy))
        return build_run(compose("train", [*model, *data, *short, *chosen, *brief]).tree)

    return make


def inputs(run: Run) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 200, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    given = {"input_ids": ids, "attention_mask": mask}
    is_pair = run.model.known_kind() is Kind.encoder_decoder
    return {**given, "decoder_input_ids": ids} if is_pair else given


def logits(network: Any, run: Run) -> torch.Tensor:
    with torch.inference_mode():
        output: torch.Tensor = network.eval()(**inputs(run)).logits
    return output


def test_every_hub_model_is_covered() -> None:
    files = (CONF_DIR / "model").glob("*.yaml")
    named = {path.stem for path in files if ".hub.Hub" in path.read_text(encoding="utf-8")}
    assert set(KINDS) == named - {"hub"}


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "strategy"), PAIRS)
def test_a_strategy_starts_as_loaded_trains_its_part_and_restores(
    run_of: Callable[[str, str], Run], name: str, strategy: str
) -> None:
    run, cache = run_of(name, strategy), Cache()
    if (name, strategy) in REFUSED:
        with pytest.raises(ConfigError, match=REFUSED[name, strategy]):
            run.strategy.check(run.model, run.task)
            check_architecture(run, LABELS)  # before loading weights
        return
    network = build_network(run, LABELS, cache)
    loaded = loaded_network(cache)
    assert torch.equal(logits(network, run), logits(loaded, run)) == (strategy not in VIRTUAL)
    num_trained, num_parameters = count_parameters(network)
    assert 0 < num_trained <= num_parameters
    assert (num_trained == num_parameters) == (strategy in ("full", "from_scratch"))
    before = {key: p.detach().clone() for key, p in network.named_parameters()}
    shake(network)
    again = build_network(run, LABELS, cache)
    restore_state(again, trained_state(network))
    assert torch.equal(logits(again, run), logits(network, run))
    assert not torch.equal(logits(build_network(run, LABELS, cache), run), logits(network, run))
    optimizer = run.optimizer.build(network)
    target = torch.randn(logits(network, run).shape)
    ((network.train()(**inputs(run)).logits - target) ** 2).sum().backward()
    with run.strategy.stepping(network, 1, 100):
        optimizer.step()
    for key, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[key]), key


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", [pytest.param("full", marks=pytest.mark.slow), "lora"])
@pytest.mark.parametrize("name", KINDS)
def test_a_resumed_run_equals_an_uninterrupted_one(
    run_of: Callable[[str, str], Run], here: Path, name: str, strategy: str
) -> None:
    assert_cut_is_whole(run_of(name, strategy), here, 2)
