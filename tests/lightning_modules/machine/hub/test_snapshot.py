"""Which files of a model are downloaded, how, and what of them is used without a network.

The real client asks a hub on this machine (`tests/loopback.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from lightning_modules.error import ConfigError
from lightning_modules.machine.hub import download
from lightning_modules.machine.hub.snapshot import Snapshot, find_snapshot, forget_answers
from lightning_modules.machine.hub.wanted import Wanted
from tests.loopback import Hub

SMALL = {"config.json": b'{"model_type": "bert"}', "tokenizer.json": b"{}", "vocab.txt": b"a"}
FILES = {**SMALL, "model.safetensors": b"0" * 1_000_000}
INDEX = {
    "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
}
SHARDED = {
    **SMALL,
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    "model-00001-of-00002.safetensors": b"1" * 300_000,
    "model-00002-of-00002.safetensors": b"2" * 200_000,
}
# What real repositories have besides, and training does not need.
OTHERS = {
    "README.md": b"# A model",
    ".gitattributes": b"",
    "pytorch_model.bin": b"pickle",
    "tf_model.h5": b"tf",
    "consolidated.safetensors": b"3" * 100_000,
    "model.fp16.safetensors": b"4" * 100_000,
    "onnx/model.onnx": b"5" * 100_000,
    "original/params.json": b"{}",
    "modeling.py": b"raise SystemExit",
}


def find(revision: str | None = None, name: str = "owner/name") -> Snapshot:
    """Return what a new process finds."""
    forget_answers()
    return find_snapshot(Wanted("model.path", "model", name, revision, "or give a folder"))


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("files", [FILES, SHARDED])
def test_only_what_training_needs_is_downloaded_and_counted(
    hub: Hub, files: dict[str, bytes]
) -> None:
    hub.add("owner/name", {**files, **OTHERS})
    found = find()
    assert sum(file.num_bytes for file in found.missing(weights=True)) == sum(
        map(len, files.values())
    )
    small = found.missing(weights=False)
    assert {file.path for file in small} - {"model.safetensors.index.json"} == set(SMALL)
    came: list[int] = []
    folder = found.fetch(weights=True, on_bytes=came.append)
    assert names_in(folder) == set(files)
    assert sum(came) == sum(map(len, files.values()))
    assert found.missing(weights=True) == []
    assert all((folder / path).read_bytes() == content for path, content in files.items())
    for path in OTHERS:
        assert not hub.paths(ending=path)


def test_without_weights_they_are_not_downloaded(hub: Hub) -> None:
    hub.add("owner/name", {**FILES, **OTHERS})
    assert names_in(find().fetch(weights=False)) == set(SMALL)


def test_an_index_names_the_files_whatever_they_are_called(hub: Hub) -> None:
    index = json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}).encode()
    files = {**SMALL, "model.safetensors.index.json": index}
    hub.add("owner/name", {**files, "one.safetensors": b"1", "two.safetensors": b"2", **OTHERS})
    assert names_in(find().fetch(weights=True)) == {*files, "one.safetensors", "two.safetensors"}


def test_a_download_that_is_cut_continues_where_it_stopped(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client keeps whole pieces of 10 MB.
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    hub.add("owner/name", FILES)
    hub.fail("GET /elsewhere/*", cut_after=400_000, times=1)
    came: list[int] = []
    said: list[str] = []
    folder = find().fetch(weights=True, on_bytes=came.append, say=said.append)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    ranges = [request.range for request in hub.requests if "/elsewhere/" in request.path]
    assert ranges[0] is None and ranges[1] is not None
    assert 0 < int(ranges[1].removeprefix("bytes=").removesuffix("-")) <= 400_000
    assert sum(came) == sum(map(len, FILES.values()))
    assert said == ["the connection was cut; continuing where it stopped"]


def test_a_slow_download_ends(hub: Hub) -> None:
    hub.add("owner/name", FILES)
    hub.fail("GET /elsewhere/*", bytes_per_second=2_000_000)
    assert names_in(find().fetch(weights=True)) == set(FILES)


def test_an_error_of_the_hub_in_the_middle_is_tried_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.01)
    hub.add("owner/name", FILES)
    hub.fail("GET /elsewhere/*", status=503, times=2)
    said: list[str] = []
    assert names_in(find().fetch(weights=True, say=said.append)) == set(FILES)
    assert said == ["model.safetensors: the hub has an error, 503; trying again"] * 2


def test_a_download_that_failed_keeps_the_files_that_came(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.01)
    hub.add("owner/name", SHARDED)
    fault = hub.fail("HEAD *00002-of-00002.safetensors", status=403)
    with pytest.raises(ConfigError, match="you may not read it, 403"):
        find().fetch(weights=True)
    fault.times = 0
    hub.requests.clear()
    assert names_in(find().fetch(weights=True)) == set(SHARDED)
    assert len(hub.paths("GET", "")) == 2  # the list of files, and the content of one


def test_a_limit_of_requests_is_waited_for_as_the_hub_asks(hub: Hub) -> None:
    hub.add("owner/name", FILES)
    hub.fail("GET /elsewhere/*", status=429, headers={"Retry-After": "0"}, times=1)
    said: list[str] = []
    assert names_in(find().fetch(weights=True, say=said.append)) == set(FILES)
    assert said == ["the hub limits requests; waiting 1 s"]


def test_a_renamed_model_is_used_and_its_name_said(hub: Hub) -> None:
    hub.add("owner/new", FILES)
    hub.renamed["models", "owner/old"] = "owner/new"
    found = find(name="owner/old")
    assert found.note == "owner/old is now owner/new on the hub"
    assert names_in(found.fetch(weights=True)) == set(FILES)


def test_names_mean_commits_and_a_commit_is_not_asked_for(hub: Hub) -> None:
    repo = hub.add("owner/name", FILES)
    first = repo.refs["main"]
    second = repo.commit({**FILES, "model.safetensors": b"1" * 1000}, "main", "v1.0", "refs/pr/7")
    for revision in (None, "main", "v1.0", "refs/pr/7", second):
        assert find(revision).commit == second
    folder = find(first).fetch(weights=True)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    hub.requests.clear()
    assert find(first).fetch(weights=True) == folder
    assert not hub.requests


def test_content_that_another_commit_has_too_is_not_downloaded(hub: Hub) -> None:
    repo = hub.add("owner/name", FILES)
    find().fetch(weights=True)
    repo.commit({**FILES, "config.json": b'{"model_type": "gpt2"}'})
    assert [file.path for file in find().missing(weights=True)] == ["config.json"]
    hub.requests.clear()
    find().fetch(weights=True)
    assert not [path for path in hub.paths("GET") if "/elsewhere/" in path]


def test_pickled_weights_are_replaced_by_the_hubs_own_conversion(hub: Hub) -> None:
    pickled = {**SMALL, "pytorch_model.bin": b"pickle"}
    repo = hub.add("owner/name", pickled)
    converted = repo.commit({**pickled, "model.safetensors": b"0"}, "refs/pr/7")
    repo.prs[7] = "Adding `safetensors` variant of this model"
    found = find()
    assert found.commit == converted
    assert found.note == "owner/name has pickled weights, so the hub's conversion refs/pr/7 is used"
    assert names_in(found.fetch(weights=True)) == {*SMALL, "model.safetensors"}
    with pytest.raises(ConfigError) as caught:
        find("main").check(weights=True)
    assert str(caught.value) == (
        "model.path: owner/name must have model.safetensors or model.safetensors.index.json, "
        "because loading pickled weights can run code, got pytorch_model.bin. "
        "Set model.revision=refs/pr/7, where the hub has converted them."
    )
    assert find("refs/pr/7").fetch(weights=True).is_dir()
    find("main").check(weights=False)  # strategy=from_scratch
    assert not hub.paths(ending=".bin")


def test_the_conversion_of_a_stranger_is_not_used(hub: Hub) -> None:
    pickled = {**SMALL, "pytorch_model.bin": b"pickle"}
    repo = hub.add("owner/name", pickled)
    repo.commit({**pickled, "model.safetensors": b"0"}, "refs/pr/7")
    repo.prs[7] = "Adding `safetensors` variant of this model"
    repo.author = "somebody"
    assert find().commit == repo.refs["main"]
    with pytest.raises(
        ConfigError, match=r"Have the hub convert them .*spaces/safetensors/convert"
    ):
        find().check(weights=True)


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b"0"}, "It is an adapter: "),
        ({"model-q4.gguf": b"0"}, "It is a model for llama.cpp: "),
        ({"README.md": b"0"}, "Choose a model that transformers loads; see "),
    ],
)
def test_a_repository_of_something_else(hub: Hub, files: dict[str, bytes], fix: str) -> None:
    hub.add("owner/name", files)
    with pytest.raises(ConfigError) as caught:
        find().check(weights=False)
    line = str(caught.value)
    assert line.startswith(f"model.path: owner/name must have config.json, got {sorted(files)[0]}")
    assert fix in line


def test_what_is_cached_is_used_offline_and_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = hub.add("owner/name", FILES)
    commit = repo.refs["main"]
    folder = find().fetch(weights=True)
    go_offline(monkeypatch)
    found = find()
    assert found.fetch(weights=True) == folder
    assert found.note == (
        f"owner/name: commit {commit[:12]} from the cache is used (HF_HUB_OFFLINE=1)"
    )
    assert find(commit).note == ""
    with pytest.raises(ConfigError) as caught:
        find(name="owner/other")
    assert str(caught.value) == (
        "model.path: must be a local folder or a model on the hub, got 'owner/other' "
        "(HF_HUB_OFFLINE=1, and not in the cache). Unset HF_HUB_OFFLINE, or give a folder."
    )


@pytest.mark.parametrize(
    ("how", "cause"),
    [({"status": 503}, "the hub has an error, 503"), ({"seconds": 60}, "does not answer")],
)
def test_what_is_cached_is_used_if_the_hub_fails(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], cause: str
) -> None:
    hub.add("owner/name", FILES)
    folder = find().fetch(weights=True)
    if "seconds" in how:
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1")
    hub.fail("*", **how)
    found = find()
    assert found.fetch(weights=True) == folder
    assert cause in found.note


def test_a_commit_that_is_incomplete_in_the_cache_is_refused_offline(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("owner/name", FILES)
    find().fetch(weights=False)
    go_offline(monkeypatch)
    find().check(weights=False)
    with pytest.raises(ConfigError, match=r"HF_HUB_OFFLINE=1, and not in the cache"):
        find().check(weights=True)


def test_a_look_at_a_newer_commit_does_not_hide_a_complete_one(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.add("owner/name", FILES)
    folder = find().fetch(weights=True)
    repo.commit({**FILES, "model.safetensors": b"new"})
    find().check(weights=True)  # as `finesweep plan` does
    go_offline(monkeypatch)
    assert find().fetch(weights=True) == folder
