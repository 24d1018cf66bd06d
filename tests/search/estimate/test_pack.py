"""The memory of trials that share passes, against that of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.config import compose
from search.estimate.need import need_of
from search.estimate.pack import PackNeed, pack_need
from search.estimate.study_need import PROCESS_BYTES, study_need
from search.plan.build import build_plan
from search.plan.plan import Plan
from tests.search.estimate.test_need import LLAMA


def plan_of(here: Path, *words: str) -> Plan:
    (here / "model").mkdir(exist_ok=True)
    (here / "model/config.json").write_text(json.dumps({**LLAMA, "dtype": "float32"}))
    fixed = ("model=hub", f"model.path={here / 'model'}", "task=generation", "data.max_length=128")
    fixed += ("trainer.precision=fp32", "trainer.device=cpu", "data.batch_size=8")
    return build_plan(compose("sweep", [*fixed, "search/space=none", *words]))


RATES = "optimizer.lr=tag(log,interval(1e-4,1e-3))"


def needed(here: Path, *words: str) -> PackNeed | None:
    return pack_need(plan_of(here, "strategy=lora", RATES, *words))


@pytest.mark.parametrize(("pack", "num"), [("auto", 4), ("8", 8)])
def test_a_pack_has_one_model_and_the_trained_values_and_activations_of_all(
    here: Path, pack: str, num: int
) -> None:
    plan = plan_of(here, "strategy=lora", RATES, f"search.pack={pack}")
    alone, one = study_need(plan, here), need_of(plan.run({}), computes_bf16=False)
    found = pack_need(plan)
    assert alone is not None and one is not None and found is not None
    assert found.num_trials == num
    assert found.base == PROCESS_BYTES + alone.memory.weights
    assert found.states == num * (alone.memory.states + 2 * one.trained)
    assert alone.memory.batch is not None and found.activations == num * alone.memory.batch
    assert found.total == found.base + found.states + found.activations


def test_trials_share_the_limit_on_the_tokens_at_once(here: Path) -> None:
    limited = needed(here, "search.pack=4", "trainer.micro_batch_tokens=1024")
    whole = needed(here, "search.pack=4")
    assert limited is not None and whole is not None
    assert limited.activations is not None and whole.activations is not None
    assert limited.activations == whole.activations / 4  # 2 x 128 tokens each, in place of 8 x 128


def test_none_if_no_trials_share_passes(here: Path) -> None:
    assert needed(here) is None
    full = plan_of(here, "strategy=full", "optimizer.lr=tag(log,interval(1e-5,1e-4))")
    assert pack_need(full) is None
