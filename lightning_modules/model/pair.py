"""An encoder used as both halves of an encoder-decoder, for tasks that write a text.

The encoder reads. A copy of it writes, with attention restricted to the tokens before each one.
Weights that the copy lacks start close to what they must become: cross-attention as a copy of
self-attention, the layer before the output as the identity.
Papers: Rothe et al. 2020, arXiv:1907.12461 (BERT2BERT), with cross-attention initialized at random;
Zhang et al. 2025, arXiv:2504.06225 (Encoder-Decoder Gemma), copied from self-attention.
Cost: twice the encoder's weights, plus the decoder's cross-attention in each layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.kind import Kind

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SEQ_TO_SEQ = "AutoModelForSeq2SeqLM"
PAIR = "encoder-decoder"  # the type in a saved pair's config.json
_IDS = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")


def is_pair(auto_class: str, kind: Kind | None) -> bool:
    """Return whether a model of that kind needs a pair for such a head."""
    return auto_class == SEQ_TO_SEQ and kind is Kind.encoder


def check_decoder(model_type: str) -> None:
    """Raise ConfigError if transformers cannot build a decoder from an encoder of that type."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        rule = "must be an encoder that can also be used as a decoder"
        got = Verbatim(f"one of type {model_type}")
        fix = "Set model=minilm, bert or roberta, or an encoder-decoder: t5, flan_t5 or bart."
        raise ConfigError(Problem("model", rule, got, fix))


def build_pair(
    build: Callable[..., PreTrainedModel],
    load_tokenizer: Callable[[], PreTrainedTokenizerBase],
    config: Mapping[str, Any],
) -> PreTrainedModel:
    """Return the pair.

    Args:
        build: Returns the encoder with the head of an Auto class, like `Model.load_network`.
        load_tokenizer: Returns the encoder's tokenizer; called if `config` names no tokens.
        config: Changes to the encoder's config.

    Raises:
        ConfigError: transformers cannot build a decoder from the encoder.

    """
    from transformers import EncoderDecoderModel

    encoder = build("AutoModel", **config)
    check_decoder(encoder.config.model_type)
    decoder = build("AutoModelForCausalLM", is_decoder=True, add_cross_attention=True, **config)
    _initialize_missing(decoder)
    pair: PreTrainedModel = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    freeze_pooler(pair)
    named = {name: config[name] for name in _IDS if name in config}
    for name, token in (named or _ids(load_tokenizer())).items():
        setattr(pair.config, name, token)
    halves = {"encoder": encoder, "decoder": decoder}
    pair.drawn = frozenset(
        f"{half}.{name}" for half, network in halves.items() for name in _drawn(network)
    )
    return pair


def freeze_pooler(network: Any) -> None:
    """Freeze a pair's pooler, whose output the decoder never reads."""
    if network.config.model_type == PAIR:
        pooler = getattr(network.encoder, "pooler", None)
        if pooler is not None:
            pooler.requires_grad_(False)


def _initialize_missing(decoder: PreTrainedModel) -> None:
    """Initialize the missing weights close to what they must become, in place.

    Random cross-attention reads nothing useful at first, and a decoder that learns to ignore it
    seldom recovers (docs/results.md, SciTLDR).
    """
    from torch import nn

    drawn, state = _drawn(decoder), decoder.state_dict()
    for name in drawn & state.keys():
        new, source = state[name], name.replace(".crossattention.", ".attention.")
        if source != name and source in state and source not in drawn:
            new.copy_(state[source])
        # The output layer after it shares the embeddings: a state close to one gives its word.
        in_head = not name.startswith(f"{decoder.base_model_prefix}.")
        if in_head and new.dim() == 2 and new.size(0) == new.size(1):
            nn.init.eye_(new)


def _ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the tokens for a text's start and end, from those that the tokenizer adds."""
    start, end, padding = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    return dict(zip(_IDS, (start, start, end, padding), strict=True))


def _drawn(network: PreTrainedModel) -> frozenset[str]:
    names: frozenset[str] = getattr(network, "drawn", frozenset())
    return names
