"""An encoder as both halves of an encoder-decoder, for tasks that write a text.

The encoder reads. A copy of it writes: it sees only what stands before each token. What it lacks
begins as the nearest that it has, and has to be learnt: the attention to what was read as that to
what was written, the layer before the output as one that changes nothing.
Papers: Rothe et al. 2020, arXiv:1907.12461 (BERT2BERT), which draw the new attention at random;
Zhang et al. 2025, arXiv:2504.06225 (Encoder-Decoder Gemma), which begin it as the other one.
Cost: twice the encoder's weights, and half as many again of each layer's attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.kind import Kind

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SEQ_TO_SEQ = "AutoModelForSeq2SeqLM"
PAIR = "encoder-decoder"  # the type in config.json of a pair that was saved
_IDS = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")


def is_pair(auto_class: str, kind: Kind | None) -> bool:
    """Say whether a model of that kind gets such a head only as a pair."""
    return auto_class == SEQ_TO_SEQ and kind is Kind.encoder


def check_decoder(model_type: str) -> None:
    """Raise ConfigError where transformers cannot make a decoder of an encoder of that type."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        rule = "must be an encoder that can be made a decoder, too"
        got = Verbatim(f"one of type {model_type}")
        fix = "Those that can: minilm, bert, roberta. Or take a whole one: t5, flan_t5, bart."
        raise ConfigError(Problem("model", rule, got, fix))


def build_pair(
    build: Callable[..., PreTrainedModel],
    load_tokenizer: Callable[[], PreTrainedTokenizerBase],
    config: Mapping[str, Any],
) -> PreTrainedModel:
    """Return the pair.

    Args:
        build: Returns the encoder with a head of a named Auto class, as `Model.load_network`.
        load_tokenizer: Returns the encoder's tokenizer, asked where `config` names no tokens.
        config: Changes to the encoder's config.

    Raises:
        ConfigError: transformers cannot make a decoder of the encoder.

    """
    from transformers import EncoderDecoderModel

    encoder = build("AutoModel", **config)
    check_decoder(encoder.config.model_type)
    decoder = build("AutoModelForCausalLM", is_decoder=True, add_cross_attention=True, **config)
    _begin_new(decoder)
    pair: PreTrainedModel = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    leave_pooler(pair)
    named = {name: config[name] for name in _IDS if name in config}
    for name, token in (named or _ids(load_tokenizer())).items():
        setattr(pair.config, name, token)
    halves = {"encoder": encoder, "decoder": decoder}
    pair.drawn = frozenset(
        f"{half}.{name}" for half, network in halves.items() for name in _drawn(network)
    )
    return pair


def leave_pooler(network: Any) -> None:
    """Freeze a pair's summary of all tokens: only single tokens are read, nothing trains it."""
    if network.config.model_type == PAIR:
        pooler = getattr(network.encoder, "pooler", None)
        if pooler is not None:
            pooler.requires_grad_(False)


def _begin_new(decoder: PreTrainedModel) -> None:
    """Begin what the weights lacked near to what it has to become.

    A random attention reads nothing at first, and a decoder that learns to do without it seldom
    finds back (docs/results.md, SciTLDR).
    """
    from torch import nn

    drawn, state = _drawn(decoder), decoder.state_dict()
    for name in drawn & state.keys():
        new, nearest = state[name], name.replace(".crossattention.", ".attention.")
        if nearest != name and nearest in state and nearest not in drawn:
            new.copy_(state[nearest])
        # The output's weights behind it are the embeddings: a state near one names its word.
        in_head = not name.startswith(f"{decoder.base_model_prefix}.")
        if in_head and new.dim() == 2 and new.size(0) == new.size(1):
            nn.init.eye_(new)


def _ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return where a text begins and ends, by the tokens around what the tokenizer reads."""
    begin, end, padding = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    return dict(zip(_IDS, (begin, begin, end, padding), strict=True))


def _drawn(network: PreTrainedModel) -> frozenset[str]:
    found: frozenset[str] = getattr(network, "drawn", frozenset())
    return found
