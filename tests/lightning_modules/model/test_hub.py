"""Conformance of every YAML of conf/model with an encoder from the hub.

The hub is not contacted: each architecture is built small and random, with a tokenizer of its kind,
in the same files as on the hub.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import sentencepiece
import torch
import transformers
import yaml
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from lightning_modules.cache import Cache
from lightning_modules.check import check_run
from lightning_modules.error import ConfigError
from lightning_modules.export.model import load_exported
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.machine.hub.snapshot import forget_answers
from lightning_modules.model.attention import Attention, attention_notes
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.files.embedder import Embedder
from lightning_modules.model.files.manifest import MANIFEST, SUMS, write_sums
from lightning_modules.model.hub import Hub
from lightning_modules.model.kind import Kind
from lightning_modules.network import build_network
from lightning_modules.outcome import Ending
from lightning_modules.rows.embedded import REVIEWS
from lightning_modules.run import Run
from lightning_modules.strategy.feature_extraction import BACKBONE
from search.config import CONF_DIR, build_run, compose
from search.trained.export import Trained, export
from tests.loopback import Hub as Server
from tests.loopback import files_of
from tests.models import models_of

TEXTS = [json.loads(line)["text"] for line in REVIEWS.read_text(encoding="utf-8").splitlines()]
LABELS = ("negative", "positive")
POSITIONS = 64

Write = Callable[[Path], transformers.PreTrainedConfig]

SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def write_bert(folder: Path) -> transformers.PreTrainedConfig:
    tokenizer = word_pieces(folder)
    return transformers.BertConfig(
        **SIZES, vocab_size=tokenizer, hidden_size=32, max_position_embeddings=POSITIONS
    )


def write_distilbert(folder: Path) -> transformers.PreTrainedConfig:
    return transformers.DistilBertConfig(
        vocab_size=word_pieces(folder),
        dim=32,
        n_layers=2,
        n_heads=2,
        hidden_dim=64,
        max_position_embeddings=POSITIONS,
    )


def write_roberta(folder: Path) -> transformers.PreTrainedConfig:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = byte_pairs(special)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt, as on the hub
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": POSITIONS}))
    return transformers.RobertaConfig(
        **SIZES,
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        type_vocab_size=1,
        max_position_embeddings=POSITIONS + 2,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )


def write_deberta(folder: Path) -> transformers.PreTrainedConfig:
    # The hub has only the sentencepiece model, and no tokenizer.json.
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(folder / "spm"),
        vocab_size=400,
        **{f"{name}_id": index for index, name in enumerate(("pad", "bos", "eos", "unk"))},
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        minloglevel=2,
    )
    (folder / "spm.vocab").unlink()
    settings = {"do_lower_case": False, "vocab_type": "spm"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return transformers.DebertaV2Config(
        **SIZES,
        vocab_size=420,  # more than its tokenizer has, as on the hub
        hidden_size=32,
        max_position_embeddings=POSITIONS,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=16,
        max_relative_positions=-1,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pooler_hidden_size=32,
        pooler_dropout=0,
        pooler_hidden_act="gelu",
    )


def write_modernbert(folder: Path) -> transformers.PreTrainedConfig:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = byte_pairs(special)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{f"{name[1:-1].lower()}_token": name for name in special},
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    return transformers.ModernBertConfig(
        **SIZES,
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        max_position_embeddings=POSITIONS,
        local_attention=8,
        attention_dropout=0.1,
        pad_token_id=0,
        cls_token_id=2,
        bos_token_id=2,
        sep_token_id=3,
        eos_token_id=3,
    )


def word_pieces(folder: Path) -> int:
    """Write a word-piece tokenizer; return its number of tokens."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.model.save(str(folder))  # vocab.txt, as on the hub
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"do_lower_case": True, "model_max_length": POSITIONS}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer.get_vocab_size()


def byte_pairs(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


ARCHITECTURES: dict[str, Write] = {
    "bert": write_bert,
    "deberta": write_deberta,
    "distilbert": write_distilbert,
    "modernbert": write_modernbert,
    "roberta": write_roberta,
}

HUB_MODELS = sorted(
    path.stem
    for path in (CONF_DIR / "model").glob("*.yaml")
    if yaml.safe_load(path.read_text(encoding="utf-8"))["_target_"].endswith(".hub.Hub")
    and path.stem in models_of(Kind.encoder)
)
STRATEGIES = ("full", "lora", "feature_extraction", "from_scratch")

each_model = pytest.mark.parametrize("name", HUB_MODELS)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder with a small random model of each architecture."""

    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        config = ARCHITECTURES[name](folder)
        config.initializer_range = 0.2  # otherwise all texts get nearly the same logits
        torch.manual_seed(0)
        # As on the hub, with the head of the pretraining; BERT's weights have a pooler.
        bert = transformers.AutoModelForPreTraining
        auto = bert if name == "bert" else transformers.AutoModelForMaskedLM
        auto.from_config(config).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def run_of(
    folder_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Run]:
    train = tmp_path_factory.mktemp("rows") / "train.jsonl"
    lines = REVIEWS.read_text(encoding="utf-8").splitlines(keepends=True)
    train.write_text("".join(lines[:200]), encoding="utf-8")

    @cache
    def model(name: str) -> Hub:
        words = (f"model={name}", f"model.path={folder_of(name)}")
        hub = build_run(compose("train", words).tree).model
        assert isinstance(hub, Hub)
        return hub

    @cache
    def run(strategy: str) -> Run:
        data = ("data=files", f"data.train={train}", "data.batch_size=16", "data.max_length=24")
        short = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "trainer.precision=fp32")
        words = ("model=tiny", f"strategy={strategy}", "logger=none", *data, *short)
        return build_run(compose("train", words).tree)

    # Composing takes longer than training such a model.
    return lambda name, strategy: replace(run(strategy), model=model(name))


@pytest.fixture(scope="module")
def trained(
    run_of: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Trained]:
    @cache
    def make(name: str, strategy: str) -> Trained:
        run, folder = run_of(name, strategy), tmp_path_factory.mktemp(f"{name}-{strategy}")
        outcome = fit(run, folder, Identity("x", None, folder))
        assert outcome.ending is Ending.finished
        assert outcome.best is not None
        return Trained(run, folder, "run x", outcome.best.metrics, "")

    return make


@pytest.fixture(scope="module")
def exported(
    trained: Callable[[str, str], Trained], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    @cache
    def make(name: str, strategy: str) -> Path:
        folder = tmp_path_factory.mktemp("exported") / strategy
        export(trained(name, strategy), folder)
        return folder

    return make


def logits(network: Any, tokenizer: Any) -> torch.Tensor:
    inputs = tokenizer(
        TEXTS[:40], truncation=True, max_length=24, padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        output: torch.Tensor = network.eval()(**inputs).logits
    return output


def our_logits(trained: Trained) -> torch.Tensor:
    predictor = trained.load()
    ours = logits(predictor.network, predictor.tokenizer)
    assert ours.isfinite().all()
    assert ours.std(dim=0).min() > 1e-2
    return ours


def assert_same(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_every_encoder_has_a_small_architecture() -> None:
    assert set(HUB_MODELS) == set(ARCHITECTURES)


@pytest.mark.thorough
@each_model
@pytest.mark.parametrize("strategy", ["full", "lora", "from_scratch"])
def test_export_loads_with_plain_transformers(
    trained: Callable[..., Trained], exported: Callable[..., Path], name: str, strategy: str
) -> None:
    folder = exported(name, strategy)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert_same(logits(network, tokenizer), our_logits(trained(name, strategy)))
    assert network.config.id2label == dict(enumerate(LABELS))


@each_model
def test_adapter_loads_with_peft_on_the_base_model(
    trained: Callable[..., Trained],
    exported: Callable[..., Path],
    folder_of: Callable[[str], Path],
    name: str,
) -> None:
    from peft import PeftModel

    torch.manual_seed(1)  # the random head of the base must not matter
    auto = transformers.AutoModelForSequenceClassification
    network = auto.from_pretrained(folder_of(name), num_labels=len(LABELS))
    network = PeftModel.from_pretrained(network, exported(name, "lora") / "adapter")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder_of(name))
    assert_same(logits(network, tokenizer), our_logits(trained(name, "lora")))


def test_adapter_contains_the_weights_that_the_base_model_lacks(
    folder_of: Callable[[str], Path], run_of: Callable[[str, str], Run], here: Path
) -> None:
    from peft import PeftModel

    auto = transformers.AutoModelForSequenceClassification
    base = Path(shutil.copytree(folder_of("bert"), here / "model"))
    transformers.AutoModelForMaskedLM.from_pretrained(base).save_pretrained(base)  # no pooler
    run = run_of("bert", "lora")
    run = replace(
        run, model=Hub(path=str(base), revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    )
    network: Any = build_network(run, LABELS, Cache())
    network.save_pretrained(here / "adapter")
    torch.manual_seed(1)
    again = PeftModel.from_pretrained(auto.from_pretrained(base), here / "adapter")
    tokenizer = run.model.load_tokenizer()
    assert_same(logits(again, tokenizer), logits(network, tokenizer))


@each_model
def test_exported_frozen_backbone_and_head_load(
    trained: Callable[..., Trained], exported: Callable[..., Path], name: str
) -> None:
    result, folder = trained(name, "feature_extraction"), exported(name, "feature_extraction")
    again = load_exported(folder, result.run.task)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert_same(logits(again.network, tokenizer), our_logits(result))
    plain = transformers.AutoModel.from_pretrained(folder / BACKBONE)
    for key, tensor in again.network.backbone.state_dict().items():
        assert torch.equal(plain.state_dict()[key], tensor), key


@each_model
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_predictions_are_the_same_alone_and_in_a_batch(
    trained: Callable[..., Trained], name: str, strategy: str
) -> None:
    predictor = trained(name, strategy).load()
    rows = [{"text": text} for text in TEXTS[:8]]
    together = predictor.predict(rows)
    alone = [predictor.predict([row])[0] for row in rows]
    for one, other in zip(together, alone, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


@each_model
def test_lora_trains_the_whole_head_and_adapts_every_other_linear_layer(
    run_of: Callable[..., Run], name: str
) -> None:
    adapted = build_network(run_of(name, "lora"), LABELS, Cache())
    plain: Any = build_network(run_of(name, "full"), LABELS, Cache())
    backbone = plain.base_model_prefix
    head = {key for key, _ in plain.named_parameters() if not key.startswith(f"{backbone}.")}
    trained = {
        key.removeprefix("base_model.model.").replace(".modules_to_save.default", "")
        for key, parameter in adapted.named_parameters()
        if parameter.requires_grad
    }
    assert head
    assert {key for key in trained if not key.startswith(f"{backbone}.")} == head
    modules = getattr(plain, backbone).named_modules()
    linear = {f"{backbone}.{key}" for key, m in modules if isinstance(m, torch.nn.Linear)}
    assert trained - head == {f"{key}.lora_{a}.default.weight" for key in linear for a in "AB"}


@each_model
@pytest.mark.parametrize("strategy", ["lora", "feature_extraction"])
def test_frozen_layers_draw_no_random_numbers(
    run_of: Callable[..., Run], name: str, strategy: str
) -> None:
    network: Any = build_network(run_of(name, strategy), LABELS, Cache()).train()
    if strategy == "lora":
        plain = network.get_base_model()
        backbone = getattr(plain, plain.base_model_prefix)
    else:
        backbone = network.backbone
    ids = torch.randint(5, 400, (4, 30), generator=torch.Generator().manual_seed(0))
    outputs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        outputs.append(backbone(ids, attention_mask=torch.ones_like(ids)).last_hidden_state)
    assert torch.equal(*outputs)


def with_max_length(run: Run, max_length: int) -> Run:
    return replace(run, data=replace(run.data, max_length=max_length))


@each_model
def test_a_model_reads_up_to_its_maximum_length(
    run_of: Callable[..., Run], here: Path, name: str
) -> None:
    run = with_max_length(run_of(name, "full"), POSITIONS)
    assert run.model.max_length == POSITIONS
    network = build_network(run, LABELS, Cache()).eval()
    ids = torch.full((1, POSITIONS), 7)
    assert network(ids, attention_mask=torch.ones_like(ids)).logits.isfinite().all()
    check_run(run)
    with pytest.raises(
        ConfigError, match=f"^data.max_length: must be <= {POSITIONS}, the most tokens"
    ):
        check_run(with_max_length(run, POSITIONS + 1))


def test_roberta_fails_beyond_its_maximum_length(run_of: Callable[..., Run]) -> None:
    network = build_network(run_of("roberta", "full"), LABELS, Cache()).eval()
    ids = torch.full((1, POSITIONS + 1), 7)
    with pytest.raises(RuntimeError, match="out of bounds"):
        network(ids, attention_mask=torch.ones_like(ids))


@each_model
def test_attention_is_the_configured_one(run_of: Callable[..., Run], name: str) -> None:
    for strategy in ("full", "from_scratch", "feature_extraction"):
        run = run_of(name, strategy)
        assert isinstance(run.model, Hub)
        network: Any = build_network(run, LABELS, Cache())
        network = network.backbone if strategy == "feature_extraction" else network
        assert network.config._attn_implementation == run.model.attention.value


@pytest.mark.parametrize("strategy", ["full", "from_scratch"])
def test_without_sdpa_attention_is_eager_and_said(
    run_of: Callable[..., Run], strategy: str
) -> None:
    run = run_of("deberta", strategy)
    assert isinstance(run.model, Hub)
    network = build_network(run, LABELS, Cache())
    assert list(attention_notes(network, run.model.attention)) == list(run.model.notes()) == []
    run = replace(run, model=replace(run.model, attention=Attention.sdpa))
    network = build_network(run, LABELS, Cache())
    note = "attention is computed as eager: deberta-v2 has no other in transformers"
    assert list(attention_notes(network, run.model.attention)) == [note]
    assert list(run.model.notes()) == [note]  # said by plan, before anything is loaded


def test_attention_kernels_from_the_hub_are_refused() -> None:
    words = ["model=bert", "model.attention=kernels-community/flash-attn2"]
    with pytest.raises(
        ConfigError, match=r"^model\.attention: must be one of eager, sdpa, auto, got"
    ):
        build_run(compose("train", words).tree)


def test_a_kernel_named_in_config_json_is_refused(
    folder_of: Callable[[str], Path], here: Path
) -> None:
    folder = shutil.copytree(folder_of("bert"), here / "model")
    config = json.loads((folder / "config.json").read_text())
    config["attn_implementation"] = config["_attn_implementation"] = "someone/kernel"
    (folder / "config.json").write_text(json.dumps(config))
    model = Hub(path=str(folder), revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    for make in both(model):
        with pytest.raises(ConfigError, match=r"must have attn_implementation among eager, sdpa"):
            make("AutoModel")


@each_model
def test_from_scratch_reads_no_weights(
    folder_of: Callable[[str], Path], run_of: Callable[..., Run], here: Path, name: str
) -> None:
    folder = shutil.copytree(folder_of(name), here / "model")
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    run = run_of(name, "from_scratch")
    assert isinstance(run.model, Hub)
    pretrained = run.model.load_network("AutoModel").state_dict()
    run = replace(run, model=replace(run.model, path=str(folder)))
    network: Any = build_network(run, LABELS, Cache())
    backbone = getattr(network, network.base_model_prefix).state_dict()
    shared = [key for key in backbone if key in pretrained and pretrained[key].unique().numel() > 9]
    assert len(shared) >= 9
    for key in shared:
        # The padding token's embedding is 0 in both.
        assert (backbone[key] == pretrained[key]).float().mean() < 0.05, key
    again: Any = build_network(run, LABELS, Cache())
    for key, tensor in again.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[key]), key


def both(model: Hub) -> tuple[Callable[[str], Any], ...]:
    return model.load_network, model.new_network


@pytest.fixture
def bert(folder_of: Callable[[str], Path], here: Path) -> Path:
    return Path(shutil.copytree(folder_of("bert"), here / "model"))


def test_a_folder_without_safetensors_is_refused(bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    model = Hub(path="./model", revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    model.check()
    with pytest.raises(ConfigError, match=r"^model\.path: model\.safetensors of model must"):
        model.check_weights()
    with pytest.raises(ConfigError, match=r"got pytorch_model\.bin\. Save it again with save_pre"):
        model.load_network("AutoModel")


def test_a_folder_with_an_adapter_alone_is_told(here: Path) -> None:
    (here / "adapter_config.json").write_text("{}")
    model = Hub(path=".", revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    with pytest.raises(ConfigError, match=r"must be a folder with config\.json.* choose its base"):
        model.check()


def test_half_precision_weights_load_in_float32(bert: Path) -> None:
    network = transformers.AutoModel.from_pretrained(bert, dtype=torch.bfloat16)
    network.save_pretrained(bert)
    model = Hub(path=str(bert), revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    assert json.loads((bert / "config.json").read_text())["dtype"] == "bfloat16"
    for make in both(model):
        assert {p.dtype for p in make("AutoModel").parameters()} == {torch.float32}


def test_an_invalid_hub_name_is_refused(here: Path) -> None:
    model = Hub(path="one/two/three", revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    assert model.max_length is None
    with pytest.raises(ConfigError, match=r"Write it as owner/name\.$"):
        model.check()


def test_code_that_comes_with_a_model_does_not_run(here: Path) -> None:
    folder = here / "model"
    folder.mkdir()
    (folder / "code.py").write_text("from pathlib import Path\n\nPath('ran').touch()\n")
    auto = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": "code.Words"}
    (folder / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": auto}))
    model = Hub(path=str(folder), revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    refused = pytest.raises(ConfigError, match=r"^model\.path: .*, got code of its own\. Code that")
    with refused:
        model.load_tokenizer()
    for make in both(model):
        with refused:
            make("AutoModel")
    assert not (here / "ran").exists()


@each_model
def test_a_model_without_a_tokenizer_is_refused(
    folder_of: Callable[[str], Path], here: Path, name: str
) -> None:
    for file in ("config.json", "model.safetensors"):
        shutil.copy(folder_of(name) / file, here / file)
    with pytest.raises(ConfigError, match=r"^model\.path: tokenizer\.json of \. must be there"):
        Hub(path=".", revision=None, attention=Attention.sdpa, dtype=Dtype.fp32).load_tokenizer()


@pytest.mark.parametrize("is_sharded", [False, True])
def test_a_model_of_the_hub_loads_as_its_folder_does(
    hub: Server,
    folder_of: Callable[[str], Path],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_sharded: bool,
) -> None:
    folder = Path(shutil.copytree(folder_of("roberta"), here / "model"))
    if is_sharded:
        (folder / "model.safetensors").unlink()
        whole = transformers.AutoModelForMaskedLM.from_pretrained(folder_of("roberta"))
        whole.save_pretrained(folder, max_shard_size="50KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 2
    repo = hub.add("owner/name", {**files_of(folder), "pytorch_model.bin": b"pickle"})
    local = Hub(path=str(folder), revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    model = replace(local, path="owner/name")
    assert model.max_length is None and model.known_kind() is None
    model.check()
    model.check_weights()
    assert not hub.paths(ending=".safetensors")
    assert model.max_length == POSITIONS and model.known_kind() is Kind.encoder
    pinned = model.pinned()
    assert pinned.commit == repo.refs["main"] and pinned.name == pinned.hub_name == "owner/name"
    network = pinned.load_network("AutoModelForMaskedLM")
    for name, tensor in local.load_network("AutoModelForMaskedLM").state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name
    assert not hub.paths(ending=".bin")
    hub.requests.clear()
    assert pinned.load_tokenizer().get_vocab() == local.load_tokenizer().get_vocab()
    pinned.load_network("AutoModelForMaskedLM")
    assert not hub.requests
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model.load_network("AutoModelForMaskedLM")


def test_an_export_on_the_hub_loads(
    hub: Server, folder_of: Callable[[str], Path], here: Path
) -> None:
    folder = Path(shutil.copytree(folder_of("bert"), here / "model"))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text("{}")
    (folder / MANIFEST).write_text(json.dumps({SUMS: write_sums(folder)}))
    hub.add("owner/name", files_of(folder))
    model = Hub(path="owner/name", revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    model.load_tokenizer()
    assert not hub.paths(ending=".safetensors")
    assert model.known_kind() is Kind.encoder
    model.load_network("AutoModel")


def test_how_a_sentence_transformer_pools_is_known_before_its_download(
    hub: Server, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [{"path": path, "type": f"x.models.{kind}"} for path, kind in kinds.items()]
    parts = {"modules.json": modules, "1_Pooling/config.json": {"pooling_mode": "cls"}}
    others = {name: json.dumps(content).encode() for name, content in parts.items()}
    hub.add("owner/name", {**files_of(folder_of("bert")), **others})
    hub.add("owner/plain", files_of(folder_of("bert")))
    model = Hub(path="owner/name", revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    found = Embedder(("cls",), ("the module 2_Dense (Dense)",))
    assert model.embedder() == found
    assert replace(model, path="owner/plain").embedder() is None
    assert not hub.paths(ending=".safetensors")
    model.check()
    model.load_network("AutoModel")
    hub.requests.clear()
    assert model.pinned().embedder() == found and not hub.requests
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert model.embedder() == found
    # As another library downloads it, seen by a new process.
    pinned, snapshot = model.pinned(), model.snapshot()
    assert snapshot is not None
    task = build_run(compose("train", ["task=similarity", "model=tiny"]).tree).task
    task.check(pinned)
    (snapshot.folder / "1_Pooling/config.json").unlink()
    forget_answers()
    with pytest.raises(
        ConfigError, match=r"task\.pooling: must be set, .* owner/name pools is not"
    ):
        task.check(pinned)
    words = ["task=similarity", "model=tiny", "task.pooling=cls"]
    build_run(compose("train", words).tree).task.check(pinned)
    (snapshot.folder / "modules.json").unlink()
    forget_answers()
    (note,) = task.model_notes(pinned)
    assert note == (
        "texts are embedded by task.pooling=mean: the cache has no modules.json of owner/name, and "
        "the hub did not list its files; set task.pooling if it pools otherwise"
    )


def test_a_pickle_on_the_hub_is_never_loaded(
    hub: Server, folder_of: Callable[[str], Path], here: Path
) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return Path.touch, (here / "ran",)

    files = files_of(folder_of("roberta"))
    del files["model.safetensors"]
    hub.add("owner/name", {**files, "pytorch_model.bin": pickle.dumps({"a": Harmful()})})
    model = Hub(path="owner/name", revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    with pytest.raises(ConfigError, match=r"^model\.path: owner/name must have model\.safetensors"):
        model.check_weights()
    with pytest.raises(ConfigError, match="loading pickled weights can run code"):
        model.load_network("AutoModel")
    assert model.new_network("AutoModel").config.model_type == "roberta"  # from scratch
    assert not hub.paths(ending=".bin") and not (here / "ran").exists()


def test_a_revision_of_a_folder_is_refused(bert: Path) -> None:
    model = Hub(path="./model", revision="main", attention=Attention.sdpa, dtype=Dtype.fp32)
    with pytest.raises(ConfigError, match=r"^model\.revision: must be null for a folder"):
        model.check()
