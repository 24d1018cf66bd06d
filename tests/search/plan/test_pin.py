"""Which commit of the hub a study's models come from, and what of them has to be downloaded.

The real client asks a hub on this machine (`tests/loopback.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.cli import main
from search.config import compose
from search.plan.build import build_plan
from search.plan.download import downloads_of
from search.plan.pin import models_of, with_commits
from search.plan.plan import Plan
from tests.conftest import run_here
from tests.loopback import Hub

CONFIG = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 100,
    "max_position_embeddings": 128,
}
FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "tokenizer.json": b"{}",
    "model.safetensors": b"0" * 4_400_000,
}
WORDS = ("model=hub", "model.path=owner/name", "logger=none")


def plan_of(*words: str) -> Plan:
    return build_plan(with_commits(compose("sweep", ["study=s", *words])))


def revisions(plan: Plan) -> list[object]:
    return [arm.tree["model"].get("revision") for arm in plan.composition.arms]


def test_a_new_study_stores_the_commit(hub: Hub) -> None:
    repo = hub.add("owner/name", FILES)
    tag = repo.commit({**FILES, "tokenizer.json": b"{ }"}, "v1.0")
    plan = plan_of(*WORDS, "strategy=choice(lora,full)")
    assert revisions(plan) == [repo.refs["main"]] * 2
    assert {run.model.commit for run in plan.defaults.values()} == {repo.refs["main"]}
    assert revisions(plan_of(*WORDS, "model.revision=v1.0")) == [tag]
    assert revisions(plan_of(*WORDS, f"model.revision={tag}")) == [tag]


def test_a_command_that_repeats_a_trial_names_the_commit(hub: Hub) -> None:
    repo = hub.add("owner/name", FILES)
    (arm,) = with_commits(compose("sweep", ["study=s", *WORDS])).arms
    assert f"model.revision={repo.refs['main']}" in arm.words


@pytest.mark.parametrize(
    "words",
    [
        ("model=tiny",),
        ("model=minilm",),
        (*WORDS, "search.ask_tell=true"),
        (*WORDS, "model.revision=choice(main,v1.0)"),
        ("model=hub", "model.path=choice(owner/name,owner/other)"),
    ],
)
def test_what_is_left_as_it_is(hub: Hub, words: tuple[str, ...]) -> None:
    composition = compose("sweep", ["study=s", "strategy=feature_extraction", *words])
    assert with_commits(composition) == composition


def test_models_that_trials_choose_are_known_beforehand(hub: Hub) -> None:
    hub.add("google-bert/bert-base-uncased", FILES)
    hub.add("owner/other", FILES)
    plan = plan_of(
        "model=bert",
        "model.path=choice(google-bert/bert-base-uncased,owner/other)",
        "strategy=choice(feature_extraction,from_scratch)",
    )
    assert [(model.name, weights) for model, weights in models_of(plan)] == [
        ("google-bert/bert-base-uncased", True),
        ("owner/other", True),
        ("google-bert/bert-base-uncased", False),
        ("owner/other", False),
    ]
    small = sum(map(len, FILES.values())) - 4_400_000
    assert [each.missing_bytes for each in downloads_of(plan)][::2] == [4_400_000 + small, small]


def test_the_plan_says_what_is_to_be_downloaded(hub: Hub) -> None:
    repo = hub.add("owner/name", {**FILES, "pytorch_model.bin": b"0" * 9_000_000})
    words = ("study=s", *WORDS, "strategy=feature_extraction")
    line = f"hub     owner/name at {repo.refs['main'][:12]}: "
    assert f"{line}4.4 MB to download" in run_here("plan", *words)
    assert not hub.paths(ending=".safetensors")
    (download,) = json.loads(run_here("plan", *words, "--json"))["downloads"]
    assert download["commit"] == repo.refs["main"]
    assert 0 <= download["num_bytes"] - download["missing_bytes"] <= len(FILES["config.json"])
    (snapshot,) = (Path("huggingface/hub/models--owner--name/snapshots")).iterdir()
    for name, content in FILES.items():
        (snapshot / name).unlink(missing_ok=True)
        (snapshot / name).write_bytes(content)
    assert f"{line}in the cache" in run_here("plan", *words)


def test_a_plan_without_a_hub_says_so_in_one_line(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1")
    hub.fail("*", seconds=60)
    assert main(["plan", "study=s", *WORDS]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "model.path: must be a local folder or a model on the hub, got 'owner/name' "
        f"({hub.url} does not answer, and not in the cache). "
        "Try again, or wait longer: HF_HUB_ETAG_TIMEOUT=30 (seconds)."
    ]
    assert len(hub.requests) <= 1
