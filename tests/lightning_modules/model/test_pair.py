"""An encoder as an encoder-decoder: which weights it keeps, and how the others start."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError
from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.hub import Hub
from lightning_modules.model.kind import Kind
from lightning_modules.model.minilm import Minilm, Source
from lightning_modules.model.pair import SEQ_TO_SEQ
from lightning_modules.model.state import count_parameters
from lightning_modules.network import build_network
from lightning_modules.rows.embedded import REVIEWS
from search.config import build_run, compose

MINILM = Minilm(source=Source.package, attention=Attention.sdpa, dtype=Dtype.fp32)


@cache
def pair() -> Any:
    torch.manual_seed(0)
    return MINILM.load_network(SEQ_TO_SEQ)


def test_both_halves_start_with_the_weights_of_the_encoder() -> None:
    pretrained = MINILM.load_network("AutoModel").state_dict()
    halves = {"encoder.": pair().encoder.state_dict(), "decoder.": pair().decoder.bert.state_dict()}
    for state in halves.values():
        shared = state.keys() & pretrained.keys()
        assert len(shared) >= 100
        assert all(torch.equal(state[key], pretrained[key]) for key in shared)
    crossed = {key for key in halves["decoder."] if "crossattention" in key}
    assert crossed == halves["decoder."].keys() - pretrained.keys()


def test_cross_attention_starts_as_a_copy_of_self_attention() -> None:
    for layer in pair().decoder.bert.encoder.layer:
        itself, cross = layer.attention.state_dict(), layer.crossattention.state_dict()
        assert itself.keys() == cross.keys()
        assert all(torch.equal(itself[key], cross[key]) for key in itself)
        assert itself["self.query.weight"].data_ptr() != cross["self.query.weight"].data_ptr()


@pytest.mark.thorough
def test_a_pair_learns_to_read_its_source_in_40_steps() -> None:
    torch.manual_seed(0)
    network: Any = MINILM.load_network(SEQ_TO_SEQ).train()
    lines = REVIEWS.read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    ids = MINILM.load_tokenizer()(
        texts, truncation=True, max_length=12, padding="max_length", return_tensors="pt"
    ).input_ids
    train, held_out = ids[:-64], ids[-64:]

    def loss(written: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        logits = network(read, decoder_input_ids=written).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), written[:, 1:].flatten())

    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4)
    for rows in torch.randint(len(train), (40, 16)):
        optimizer.zero_grad()
        loss(train[rows], train[rows]).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    network.eval()
    with torch.inference_mode():
        own, others = loss(held_out, held_out), loss(held_out, held_out.roll(1, 0))
    assert own < others - 1


def test_a_missing_layer_before_the_output_starts_as_the_identity() -> None:
    head = pair().decoder.cls.predictions
    assert torch.equal(head.transform.dense.weight, torch.eye(384))
    assert not head.transform.dense.bias.any()
    assert head.decoder.weight is pair().decoder.bert.embeddings.word_embeddings.weight


def test_a_pretrained_output_layer_is_kept(here: Path) -> None:
    """Most BERTs have one; RoBERTa's has a different name."""
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    for kind in ("Bert", "Roberta"):
        config = getattr(transformers, f"{kind}Config")(vocab_size=99, **sizes)
        masked = getattr(transformers, f"{kind}ForMaskedLM")(config)
        masked.save_pretrained(here / kind)
        MINILM.load_tokenizer().save_pretrained(here / kind)
        model = Hub(
            path=str(here / kind), revision=None, attention=Attention.sdpa, dtype=Dtype.fp32
        )
        decoder: Any = model.load_network(SEQ_TO_SEQ).decoder
        before = masked.state_dict()
        kept = {name for name in decoder.state_dict() if ".crossattention." not in name}
        assert kept <= before.keys() and len(kept) > 20
        assert all(torch.equal(decoder.state_dict()[name], before[name]) for name in kept)


def test_missing_weights_are_named_as_drawn() -> None:
    names = set(pair().state_dict())
    drawn = pair().drawn
    assert drawn <= names | {"decoder.cls.predictions.decoder.weight"}
    assert {key for key in names if "crossattention" in key} <= drawn
    assert not any(key.startswith("encoder.") for key in drawn)


def test_start_and_end_tokens_are_those_of_the_tokenizer() -> None:
    tokenizer = MINILM.load_tokenizer()
    config = pair().config
    assert config.decoder_start_token_id == config.bos_token_id == tokenizer.cls_token_id
    assert (config.eos_token_id, config.pad_token_id) == (tokenizer.sep_token_id, 0)
    assert config.encoder._attn_implementation == config.decoder._attn_implementation == "sdpa"


def test_the_decoder_does_not_see_later_tokens() -> None:
    network = pair().eval()
    ids = torch.tensor([[101, 2023, 2003, 102]])
    one, other = torch.tensor([[101, 2023, 7]]), torch.tensor([[101, 2023, 9]])
    with torch.inference_mode():
        first, second = (network(ids, decoder_input_ids=each).logits for each in (one, other))
        elsewhere = network(ids + 1, decoder_input_ids=one).logits
    torch.testing.assert_close(first[:, :2], second[:, :2])
    assert not torch.allclose(first[:, 2], second[:, 2])
    assert not torch.allclose(first, elsewhere)


def test_every_parameter_that_is_used_is_trained() -> None:
    run = build_run(compose("train", ["task=summarization", "model=tiny", "strategy=full"]).tree)
    network: Any = build_network(run, (), Cache()).train()
    ids = torch.tensor([[2, 9, 8, 3]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    run.task.loss_sum(run.task.forward(network, batch), batch).backward()
    idle = {name for name, p in network.named_parameters() if p.requires_grad and p.grad is None}
    assert idle == set()
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}
    num_trained, num_parameters = count_parameters(network)
    assert num_parameters - num_trained == 32 * 32 + 32


def test_a_saved_pair_loads_unchanged(here: Path) -> None:
    built = pair().eval()
    built.save_pretrained(here / "model")
    MINILM.load_tokenizer().save_pretrained(here / "model")
    model = Hub(path=str(here / "model"), revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    assert (model.known_kind(), model.max_length) == (Kind.encoder_decoder, 512)
    saved: Any = model.load_network(SEQ_TO_SEQ).eval()
    ids = torch.tensor([[101, 2023, 2003, 102]])
    with torch.inference_mode():
        first, second = (network(ids, decoder_input_ids=ids).logits for network in (built, saved))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert saved.drawn == frozenset()
    assert count_parameters(saved) == count_parameters(built)
    assert count_parameters(model.new_network(SEQ_TO_SEQ)) == count_parameters(built)


def test_a_pair_from_scratch_has_none_of_the_pretrained_weights() -> None:
    scratch = MINILM.new_network(SEQ_TO_SEQ).state_dict()
    key = "embeddings.word_embeddings.weight"
    assert scratch.keys() == pair().state_dict().keys()
    for half in ("encoder.", "decoder.bert."):
        assert not torch.equal(scratch[half + key], pair().state_dict()[half + key])
    layer = "decoder.bert.encoder.layer.0.{}.self.query.weight"
    itself, cross = (scratch[layer.format(name)] for name in ("attention", "crossattention"))
    assert not torch.equal(itself, cross)


def test_an_encoder_without_a_decoder_class_is_refused(here: Path) -> None:
    config = transformers.DistilBertConfig(
        vocab_size=99, dim=32, n_layers=1, n_heads=2, hidden_dim=64, pad_token_id=0
    )
    transformers.DistilBertForMaskedLM(config).save_pretrained(here / "model")
    model = Hub(path=str(here / "model"), revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)
    for check in (model.load_network, model.new_network, model.check_head):
        with pytest.raises(ConfigError) as raised:
            check(SEQ_TO_SEQ)
        assert str(raised.value) == (
            "model: must be an encoder that can also be used as a decoder, got one of type "
            "distilbert. Set model=minilm, bert or roberta, or an encoder-decoder: t5, flan_t5 or "
            "bart."
        )
