"""Broken and hostile folders of models: each is refused in one line, and none of their code runs.

Each damage is done to an export, which is a model to train on, too; so `plan`, `train`, `predict`
and `evaluate` meet the same folder. The commands run in this process.
"""

from __future__ import annotations

import json
import pickle
import shutil
import string
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.model.files.manifest import MANIFEST, SUMS, write_sums
from tests.conftest import run_here, write_jsonl

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIG, TOKENIZER, SETTINGS = "config.json", "tokenizer.json", "tokenizer_config.json"
WORDS = ("logger=none", "data=files", "data.train=rows.jsonl", "data.max_length=12")
SHORT = ("strategy=full", "trainer.max_steps=1", "trainer.device=cpu", "trainer.precision=fp32")
Damage = Callable[[Path], object]


class Touch:
    """A pickle that touches a file when it is loaded."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran").absolute(),)


def write_bert(folder: Path) -> None:
    """Write a small random BERT that reads letters."""
    import torch
    import transformers

    folder.mkdir()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = string.ascii_lowercase + string.digits + string.punctuation
    words = [*special, *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Mapping[str, Path]:
    """Return exports of small classifiers: merged, and as an adapter with its base."""
    folder = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("FINESWEEP_CACHE", str(cache))
        write_rows(folder)
        write_bert(folder / "bert")
        model = ("model=hub", "model.path=./bert")
        run_here("train", "run=one", *model, *WORDS, *SHORT)
        run_here("export", "run=one", "to=merged")
        run_here("train", "run=two", *model, *WORDS, *SHORT, "strategy=prompt_tuning")
        run_here("export", "run=two", "to=adapter")
    return {name: folder / name for name in ("merged", "adapter", "bert")}


def write_rows(folder: Path) -> None:
    rows = [{"text": f"text {n}", "label": "good" if n % 2 else "bad"} for n in range(40)]
    write_jsonl(folder / "rows.jsonl", rows)


def values_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def changed(file: str, **changes: Any) -> Damage:
    """Return the damage of other values in a JSON file; None removes a key."""

    def damage(folder: Path) -> None:
        values = {**values_of(folder / file), **changes}
        kept = {key: value for key, value in values.items() if value is not None}
        (folder / file).write_text(json.dumps(kept), encoding="utf-8")

    return damage


def written(file: str, content: bytes | str) -> Damage:
    data = content if isinstance(content, bytes) else content.encode()

    def damage(folder: Path) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(data)

    return damage


def removed(*files: str) -> Damage:
    def damage(folder: Path) -> None:
        for file in files:
            (folder / file).unlink(missing_ok=True)

    return damage


def both(*damages: Damage) -> Damage:
    return lambda folder: [damage(folder) for damage in damages]


def cut(file: str, share: float) -> Damage:
    def damage(folder: Path) -> None:
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[: int(share * len(data))])

    return damage


def linked(file: str, target: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(target)

    return damage


def moved_out(file: str) -> Damage:
    """Return the damage of a file that lies outside and is linked to."""

    def damage(folder: Path) -> None:
        outside = folder.with_name("outside")
        (folder / file).rename(outside)
        (folder / file).symlink_to(outside)

    return damage


def folder_named(file: str) -> Damage:
    return both(removed(file), lambda folder: (folder / file).mkdir())


def header(change: Callable[[dict[str, Any]], object], pad: bytes = b"") -> Damage:
    """Return the damage of another header of the weights."""

    def damage(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        values = json.loads(data[8 : 8 + length])
        change(values)
        text = json.dumps(values).encode()
        content = struct.pack("<Q", len(text)) + text + data[8 + length :] + pad
        (folder / WEIGHTS).write_bytes(content)

    return damage


def tensors(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Return the damage of other tensors, in a file that is whole."""

    def damage(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        values = load_file(folder / WEIGHTS)
        change(values)
        save_file(values, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def sharded(**changes: str) -> Damage:
    """Return the damage of an index that says other files."""

    def damage(folder: Path) -> None:
        from safetensors import safe_open

        with safe_open(folder / WEIGHTS, "pt") as opened:
            names = list(opened.keys())
        (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
        files = dict.fromkeys(names, "model-00001-of-00001.safetensors") | changes
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))

    return damage


def set_nan(values: dict[str, Any]) -> None:
    values["bert.embeddings.word_embeddings.weight"][3, 2] = float("nan")


def of_type(name: str) -> Damage:
    def change(values: dict[str, Any]) -> None:
        import torch

        key = "bert.embeddings.word_embeddings.weight"
        values[key] = values[key].to(getattr(torch, name))

    return tensors(change)


def without(*parts: str) -> Damage:
    def change(values: dict[str, Any]) -> None:
        for name in [name for name in values if any(part in name for part in parts)]:
            del values[name]

    return tensors(change)


CODE = "from pathlib import Path\n\nPath('ran').touch()\n"
AUTO = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": "code.Words"}
AUTO["AutoModelForSequenceClassification"] = "code.Model"
VOCABULARY = (TOKENIZER, "vocab.txt")

# Damages of the files that every command reads, and a part of the line.
EVERYWHERE: dict[str, tuple[Damage, str]] = {
    "config-not-json": (written(CONFIG, "{,"), "config.json of "),
    "config-empty": (written(CONFIG, ""), "must be a JSON object"),
    "config-list": (written(CONFIG, "[1]"), "must be a JSON object, got a list"),
    "config-number": (written(CONFIG, "3"), "got a number"),
    "config-not-utf8": (written(CONFIG, b"\xff\xfe\x00"), "must be a JSON object"),
    "config-deep": (written(CONFIG, '{"a":' + "[" * 10**5 + "]" * 10**5 + "}"), "nested too"),
    "config-folder": (folder_named(CONFIG), CONFIG),
    "config-link-nowhere": (linked(CONFIG, "nowhere"), CONFIG),
    "config-device": (linked(CONFIG, "/dev/zero"), CONFIG),
    "no-model-type": (changed(CONFIG, model_type=None), 'Add it, e.g. "model_type": "bert".'),
    "model-type-number": (changed(CONFIG, model_type=7), "must name the architecture"),
    "unknown-model-type": (changed(CONFIG, model_type="bret"), "Did you mean bert?"),
    "auto-map": (
        both(changed(CONFIG, model_type="mine", auto_map=AUTO), written("code.py", CODE)),
        "got code of its own. Code that comes with a model is not run",
    ),
    "auto-map-of-the-hub": (
        changed(CONFIG, model_type="mine", auto_map={"AutoConfig": "a/b--code.Config"}),
        "got code of its own",
    ),
    "attention-of-the-hub": (changed(CONFIG, attn_implementation="a/b"), "got 'a/b'. Remove"),
    "attention-private": (changed(CONFIG, _attn_implementation="a/b@c:d"), "got 'a/b@c:d'"),
    "attention-internal": (changed(CONFIG, _attn_implementation_internal="a/b"), "got 'a/b'"),
    "attention-nested": (changed(CONFIG, vision={"attn_implementation": {"": "a/b"}}), "a/b"),
    "experts-of-the-hub": (changed(CONFIG, experts_implementation="sonicmoe"), "sonicmoe"),
    "kernels": (changed(CONFIG, use_kernels=True), "Remove use_kernels."),
    "quantized-by-kernels": (
        changed(CONFIG, quantization_config={"quant_method": "mxfp4"}),
        "quantization_config.quant_method",
    ),
    "vocabulary-negative": (changed(CONFIG, vocab_size=-3), "whole number > 0 as vocab_size"),
    "width-text": (changed(CONFIG, hidden_size="wide"), "whole number > 0 as hidden_size"),
    "architectures-text": (changed(CONFIG, architectures="Bert"), "list of names"),
    "labels-list": (changed(CONFIG, id2label=["a", "b"]), "numbers from 0 as keys"),
    "labels-with-a-gap": (changed(CONFIG, id2label={"0": "a", "2": "b"}), "numbers from 0"),
    "number-of-labels-a-text": (changed(CONFIG, id2label=None, num_labels="2"), "as num_labels"),
    "wider-than-the-weights": (changed(CONFIG, hidden_size=1024), "of the sizes in config.json"),
    "more-tokens-than-weights": (changed(CONFIG, vocab_size=50000), "of the sizes in config"),
    "more-layers-than-weights": (changed(CONFIG, num_hidden_layers=30), "must have the 30 layers"),
    "no-weights": (removed(WEIGHTS), "model.safetensors of "),
    "pickled-weights": (
        both(removed(WEIGHTS), written("pytorch_model.bin", pickle.dumps(Touch()))),
        "because loading pickled weights can run code, got pytorch_model.bin",
    ),
    "weights-pickled-under-another-name": (
        both(
            changed(CONFIG, transformers_weights="adapter_model.bin"),
            written("adapter_model.bin", pickle.dumps(Touch())),
        ),
        "must not name another file as transformers_weights, got 'adapter_model.bin'",
    ),
    "weights-empty": (written(WEIGHTS, b""), "whole file of safetensors"),
    "weights-a-page": (written(WEIGHTS, "<!DOCTYPE html>" * 9), "whole file of safetensors"),
    "weights-a-pointer": (
        written(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
        "whole file of safetensors",
    ),
    "weights-cut-in-the-header": (cut(WEIGHTS, 0.02), "whole file of safetensors"),
    "weights-cut": (cut(WEIGHTS, 0.7), "bytes of weights instead of"),
    "weights-longer": (header(lambda values: None, pad=b"\0" * 8), "bytes of weights instead of"),
    "header-huge": (written(WEIGHTS, struct.pack("<Q", 2**62) + b"{}"), "whole file of"),
    "header-not-json": (written(WEIGHTS, struct.pack("<Q", 4) + b"{{{{"), "a damaged header"),
    "header-a-list": (written(WEIGHTS, struct.pack("<Q", 2) + b"[]"), "not an object"),
    "header-other-shape": (
        header(lambda values: values["bert.pooler.dense.bias"].update(shape=[99])),
        "a damaged entry for bert.pooler.dense.bias",
    ),
    "header-offsets": (
        header(lambda values: values["bert.pooler.dense.bias"].update(data_offsets=[-1, 5])),
        "a damaged entry for",
    ),
    "weights-of-integers": (of_type("int32"), "must have floating-point numbers"),
    "weights-folder": (folder_named(WEIGHTS), "must be a plain file"),
    "weights-linked-out": (moved_out(WEIGHTS), "must be in the folder itself"),
    "tokenizer-linked-out": (moved_out(TOKENIZER), "must be in the folder itself"),
    "weights-none": (tensors(lambda values: values.clear()), "must have weights, got none"),
    "a-layer-missing": (without("layer.1."), "every layer of bert.encoder.layer, got none of n"),
    "index-not-json": (both(removed(WEIGHTS), written(INDEX, "[")), INDEX),
    "index-without-map": (both(removed(WEIGHTS), written(INDEX, "{}")), "must have a weight_map"),
    "index-of-no-file": (both(removed(WEIGHTS), written(INDEX, '{"weight_map": {}}')), "files"),
    "index-outside": (sharded(a="../../other.safetensors"), "in the folder itself"),
    "index-absolute": (sharded(a="/etc/passwd"), "in the folder itself"),
    "index-pickle": (sharded(a="pytorch_model-00001-of-00001.bin"), "in the folder itself"),
    "index-missing-shard": (sharded(a="model-00002-of-00002.safetensors"), "must be there"),
    "index-missing-tensor": (sharded(other="model-00001-of-00001.safetensors"), "must have other"),
    "no-tokenizer": (removed(*VOCABULARY, SETTINGS), "tokenizer.json of "),
    "no-vocabulary": (removed(*VOCABULARY), "no file of a vocabulary"),
    "tokenizer-damaged": (cut(TOKENIZER, 0.5), "must be a tokenizer, got something else"),
    "tokenizer-a-list": (written(TOKENIZER, "[]"), "must be a tokenizer"),
    "tokenizer-settings-damaged": (written(SETTINGS, "{"), f"{SETTINGS} of "),
    "tokenizer-class-number": (changed(SETTINGS, tokenizer_class=3), "tokenizer_class"),
    "chat-template-a-number": (changed(SETTINGS, chat_template=5), "must have a text as chat_te"),
    "chat-template-of-bytes": (written("chat_template.jinja", b"\xff"), "must be text in UTF-8"),
    "tokenizer-of-code": (
        both(
            removed(*VOCABULARY),
            changed(SETTINGS, tokenizer_class="Mine", auto_map={"AutoTokenizer": ["code.W", None]}),
            written("code.py", CODE),
        ),
        "must be of a tokenizer that transformers has, got code of its own",
    ),
    "an-adapter-beside-it": (
        written("adapter_config.json", '{"peft_type": "LORA"}'),
        "adapter_config.json of ",
    ),
    "distributed-weights": (
        written("shard-00001-model-00001-of-00001.safetensors", b""),
        "weights of a distributed training",
    ),
    "empty": (lambda folder: (shutil.rmtree(folder), folder.mkdir()), "must be a folder with"),
}

# Damages that only loading finds, or that concern an export alone.
OF_EXPORTS: dict[str, tuple[Damage, str]] = {
    "head-missing": (without("classifier"), "must have all weights, e.g. classifier.bias"),
    "pooler-missing": (without("pooler"), "must have all weights, e.g. bert.pooler.dense.bias"),
    "not-a-number": (tensors(set_nan), "must have finite numbers in bert.embeddings.word_emb"),
    "more-labels-than-the-head": (
        both(
            changed(MANIFEST, labels=["bad", "good", "odd"]),
            changed(CONFIG, id2label={"0": "bad", "1": "good", "2": "odd"}),
        ),
        "must have classifier.",
    ),
    "labels-of-another": (changed(MANIFEST, labels=["bad", "odd"]), "as id2label (bad, odd)"),
    "labels-in-another-order": (changed(MANIFEST, labels=["good", "bad"]), "as id2label"),
    "labels-repeated": (changed(MANIFEST, labels=["bad", "bad"]), "different texts as labels"),
    "labels-a-number": (changed(MANIFEST, labels=2), "a list of texts as labels"),
    "manifest-not-json": (written(MANIFEST, "{"), "must be a JSON object"),
    "manifest-a-list": (written(MANIFEST, "[]"), "must be a JSON object, got a list"),
    "no-manifest": (removed(MANIFEST), "model: must be a folder with finesweep.json"),
    "length-a-text": (changed(MANIFEST, max_length="long"), "a whole number > 0 as max_length"),
    "no-task": (changed(MANIFEST, task=None), "the task and its settings"),
    "unknown-task": (changed(MANIFEST, task={"task": "baking"}), "task: must be one of"),
    "plugins-in-the-manifest": (
        changed(MANIFEST, task={"task": "classification", "search.plugins": ["mine"]}),
        "got search.plugins. Name your package yourself on the command line, if you trust it.",
    ),
    "data-in-the-manifest": (
        changed(MANIFEST, task={"task": "classification", "data.train": "/etc/passwd"}),
        "must have settings of the task alone",
    ),
    "environment-in-the-manifest": (
        changed(MANIFEST, task={"task": "classification", "task.metric": "${oc.env:HOME}"}),
        "task.metric: must be one of accuracy",
    ),
    "strategy-of-others": (changed(MANIFEST, strategy="os.path.Mine"), "must be in one of the"),
    "strategy-that-is-none": (
        changed(MANIFEST, strategy="lightning_modules.error.Problem"),
        "must be a concrete subclass of Strategy",
    ),
    "prompt-a-number": (changed(MANIFEST, prompt=5), "a text as prompt"),
    "columns-a-list": (changed(MANIFEST, columns=[1]), "names as columns"),
}

# Damages of a folder with an adapter on a base.
OF_ADAPTERS: dict[str, tuple[Damage, str]] = {
    "no-adapter": (removed("adapter/adapter_model.safetensors"), "adapter_model.safetensors of "),
    "pickled-adapter": (
        both(
            removed("adapter/adapter_model.safetensors"),
            written("adapter/adapter_model.bin", pickle.dumps(Touch())),
        ),
        "because loading pickled weights can run code",
    ),
    "adapter-cut": (cut("adapter/adapter_model.safetensors", 0.6), "whole file of safetensors"),
    "adapter-config-damaged": (cut("adapter/adapter_config.json", 0.5), "must be a JSON object"),
    "adapter-without-method": (
        changed("adapter/adapter_config.json", peft_type=None),
        "must name the method as peft_type",
    ),
    "adapter-of-code": (
        changed("adapter/adapter_config.json", auto_mapping={"parent_library": "code"}),
        "must have a model of transformers, got 'code'",
    ),
    "adapter-of-megatron": (
        changed("adapter/adapter_config.json", megatron_config={"a": 1}, megatron_core="code"),
        "must not have megatron_config",
    ),
    "adapter-of-other-weights": (
        changed("adapter/adapter_config.json", prompt_tuning_init_state_dict_path="state.bin"),
        "must not have prompt_tuning_init_state_dict_path, got 'state.bin'",
    ),
    "base-missing": (  # the name that the adapter has for it is then one of the hub
        lambda folder: shutil.rmtree(folder / "base"),
        "must be a local folder or a model on the hub, got 'bert'",
    ),
    "base-cut": (cut("base/model.safetensors", 0.5), "bytes of weights instead of"),
    "base-of-code": (
        changed("base/config.json", model_type="mine", auto_map=AUTO),
        "got code of its own",
    ),
    "adapter-settings-of-the-hub": (changed(CONFIG, attn_implementation="a/b"), "got 'a/b'"),
}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must refuse its input; return the line."""
    run_here(*words, code=2)
    line = capsys.readouterr().err
    assert line.count("\n") == 1, line
    assert "Traceback" not in line
    assert not Path("ran").exists() and not Path("runs").exists()
    assert not Path("studies").exists() and not Path("out.jsonl").exists()
    return line


def damaged(folder: Path, here: Path, damage: Damage, *, sums: bool = False) -> None:
    """Copy an export and damage it, with sums of the damaged files, or with none."""
    shutil.copytree(folder, here / "broken")
    write_rows(here)
    (here / "code.py").write_text(CODE)
    damage(here / "broken")
    manifest = here / "broken" / MANIFEST
    try:
        values = values_of(manifest)
        del values[SUMS]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if sums:
        values[SUMS] = write_sums(here / "broken")
    manifest.write_text(json.dumps(values))


def using(capsys: pytest.CaptureFixture[str], part: str) -> None:
    """Check that `predict` and `evaluate` refuse the folder with this part in their line."""
    files = ("input=rows.jsonl", "output=out.jsonl")
    assert part in refused(capsys, "predict", "model=broken", *files)
    assert part in refused(capsys, "evaluate", "model=broken", *WORDS)


@pytest.mark.thorough
@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_broken_folder_is_refused_by_every_command(
    exported: Mapping[str, Path], here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damage, part = EVERYWHERE[name]
    damaged(exported["merged"], here, damage)
    training = ("model=hub", "model.path=./broken", *WORDS, *SHORT)
    assert part in refused(capsys, "plan", "study=one", *training)
    assert part in refused(capsys, "train", "run=one", *training)
    using(capsys, part)


@pytest.mark.thorough
@pytest.mark.parametrize("name", OF_EXPORTS)
def test_a_broken_export_is_refused(
    exported: Mapping[str, Path], here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damage, part = OF_EXPORTS[name]
    damaged(exported["merged"], here, damage)
    using(capsys, part)


@pytest.mark.thorough
@pytest.mark.parametrize("name", OF_ADAPTERS)
def test_a_broken_adapter_is_refused(
    exported: Mapping[str, Path], here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damage, part = OF_ADAPTERS[name]
    damaged(exported["adapter"], here, damage)
    using(capsys, part)
