"""Commands with a model of the hub: downloaded once, recorded, used again; no secret is written.

The real client asks a hub on this machine (`tests/loopback.py`).
"""

from __future__ import annotations

import json
import shutil
import string
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml

from lightning_modules.machine.hub import download
from lightning_modules.machine.hub.local import folder_of
from lightning_modules.machine.hub.snapshot import forget_answers
from search.cli import main
from search.config import compose
from search.trained.training import job_of
from tests.conftest import run_here
from tests.loopback import Hub, files_of

TOKEN = "hf_thesecret"
SHORT = ("experiment=smoke", "logger=none", "data.max_length=32", "trainer.epochs=1")
MODEL = ("model=hub", "model.path=owner/name", "strategy=lora")


def bert(seed: int) -> dict[str, bytes]:
    """Return the files of a small random BERT that reads letters, in several shards."""
    import torch
    import transformers

    folder = Path(f"bert-{seed}")
    folder.mkdir()
    letters = string.ascii_lowercase + string.digits + string.punctuation
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    network = transformers.BertForMaskedLM(config)
    network.save_pretrained(folder, max_shard_size="60KB")
    return {**files_of(folder), "pytorch_model.bin": b"pickle"}


def tokenizer_of(folder: Path) -> bytes:
    """Return the tokenizer of a folder in the format of `tokenizers`."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return bytes(tokenizer.backend_tokenizer.to_str(), "utf-8")


def assert_no_secret(*texts: str) -> None:
    written = [
        path for path in Path().rglob("*") if path.is_file() and "huggingface" not in path.parts
    ]
    for content in [*(path.read_bytes() for path in written), *(text.encode() for text in texts)]:
        assert TOKEN.encode() not in content and b"secret-of-the-link" not in content


@pytest.mark.thorough
def test_a_study_keeps_the_commit_that_it_began_with(
    hub: Hub, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.add("owner/name", bert(0))
    repo.gated = True
    repo.members.add(TOKEN)
    hub.tokens.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    first = repo.refs["main"]
    words = ("study=mine", *SHORT, *MODEL, "search.workers=0")
    printed = run_here("sweep", *words, "search.num_trials=1")
    assert f"hub     owner/name at {first[:12]}: in the cache" in printed
    assert "downloading owner/name (0." in capfd.readouterr().err
    whole = yaml.safe_load(Path("studies/mine/config.yaml").read_text())
    assert whole["model"]["revision"] == first
    files = len(hub.paths("GET", ".safetensors"))
    assert files == 0  # they come from another host, each once
    shards = [path for path in hub.paths("GET") if "/elsewhere/" in path]
    assert len(shards) == len(set(shards)) > 1

    repo.commit(bert(1))
    forget_answers()
    hub.requests.clear()
    printed = run_here("sweep", *words, "search.num_trials=2")
    assert f"hub     owner/name at {first[:12]}: in the cache" in printed
    assert f"model.revision={first} (a new study" not in printed
    assert not [path for path in hub.paths() if "/elsewhere/" in path]  # no other weights
    for number in (0, 1):
        config = Path(f"studies/mine/trials/{number:04d}/attempt-1/config.yaml").read_text()
        assert yaml.safe_load(config)["model"]["revision"] == first

    assert main(["sweep", *words, "model.revision=main", "search.num_trials=3"]) == 2
    errors = capfd.readouterr().err
    assert f"model.revision: study mine has '{first}', got '{repo.refs['main']}'" in errors

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    forget_answers()
    run_here("sweep", *words, "search.num_trials=3")
    run_here("export", "study=mine", "to=best")
    manifest = json.loads(Path("best/finesweep.json").read_text())
    assert (manifest["base"], manifest["base_commit"]) == ("owner/name", first)
    adapter = json.loads(Path("best/adapter/adapter_config.json").read_text())
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("owner/name", first)
    assert_no_secret(printed, errors)


def test_lengths_are_not_known_before_the_tokenizer_is_downloaded(hub: Hub) -> None:
    files = bert(0)
    hub.add("owner/name", {**files, "tokenizer.json": tokenizer_of(Path("bert-0"))})
    words = ("study=mine", *MODEL, "logger=none")
    printed = run_here("plan", *words)
    assert (
        "\ndata    lengths are not known: the tokenizer of owner/name is not downloaded yet; "
        "data.max_length=auto stands for 64 until they are\n"
    ) in printed
    assert "Training example" not in printed
    assert not hub.paths("GET", "tokenizer.json")
    job = job_of(compose("train", ["run=one", *MODEL, "logger=none"]))
    assert hub.paths("GET", "tokenizer.json") and job.run.data.max_length == 64
    printed = run_here("plan", *words)
    assert "texts are longer than data.max_length=64 (auto: the most that owner/name" in printed
    assert "Training example 2, 64 tokens:" in printed


@pytest.mark.thorough
def test_a_run_stores_the_commit_and_says_it(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    repo = hub.add("owner/name", bert(0))
    printed = run_here("train", "run=one", *SHORT, *MODEL)
    commit = repo.refs["main"]
    assert f"hub owner/name at {commit[:12]}: in the cache" in printed
    assert yaml.safe_load(Path("runs/one/config.yaml").read_text())["model"]["revision"] == commit
    again = run_here("evaluate", "run=one")
    assert "accuracy" in again


@pytest.mark.parametrize("command", [("sweep", "study=mine"), ("train", "run=one")])
def test_a_failed_download_is_one_line_and_begins_nothing(
    hub: Hub,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.01)
    config: dict[str, Any] = {"model_type": "bert", "max_position_embeddings": 64}
    files = {"config.json": json.dumps(config).encode(), "tokenizer.json": b"{}"}
    hub.add("owner/name", {**files, "model.safetensors": b"0" * 300_000})
    hub.fail("HEAD *model.safetensors", status=403)
    assert main([*command, *SHORT, *MODEL]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "downloading owner/name (0.3 MB) ...",
        "model.path: must be a local folder or a model on the hub, got 'owner/name' (you may not "
        f"read it, 403). See {hub.url}/owner/name, and give your token read access on "
        f"{hub.url}/settings/tokens.",
    ]
    assert not Path("studies").exists()
    assert not list(Path().glob("runs/*/config.yaml"))


def test_a_named_model_is_asked_for_by_its_name_on_the_hub(
    hub: Hub, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "study=mine", "model=bert"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "got 'google-bert/bert-base-uncased' (the hub has none that you may read, 401)" in line


@pytest.mark.thorough
def test_the_base_of_an_export_is_downloaded_with_a_word(
    hub: Hub, capfd: pytest.CaptureFixture[str]
) -> None:
    repo = hub.add("owner/name", bert(0))
    run_here("train", "run=one", *SHORT, *MODEL)
    run_here("export", "run=one", "to=best", "merge=false")
    shutil.rmtree(folder_of("owner/name", repo.refs["main"]).parents[1])
    forget_answers()
    Path("new.jsonl").write_text('{"text": "It was great."}\n')
    capfd.readouterr()
    for command in (
        ["predict", "model=best", "input=new.jsonl", "output=out.jsonl"],
        ["predict", "model=best", "input=new.jsonl", "output=again.jsonl"],
    ):
        assert main(command) == 0
    lines = capfd.readouterr().err.splitlines()
    said = [line for line in lines if line.startswith("downloading ")]
    assert said == ["downloading owner/name (0.1 MB) ..."]
