"""A very small random network for tests and first experiments, in seconds and without a download.

A BERT, GPT-2 or BART with random weights, and a tokenizer of whole words from the embedded
reviews. All it knows it learns from the training rows.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.model.base import Model
from lightning_modules.model.kind import Kind
from lightning_modules.model.light import LightTokenizer
from lightning_modules.model.pair import build_pair, is_pair
from lightning_modules.model.plain import read_plainly
from lightning_modules.model.size import Size
from lightning_modules.rows.embedded import REVIEWS
from lightning_modules.schema import positive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_NAMED = dict(zip(("pad", "unk", "cls", "sep", "mask"), _SPECIAL, strict=True))


@dataclass(frozen=True, kw_only=True)
class Tiny(Model):
    """A random BERT, GPT-2 or BART.

    Attributes:
        kind: Which of them: `encoder`, `decoder` or `encoder_decoder`.
        width: Hidden size, > 0, a multiple of `num_heads`.
        num_layers: Transformer layers, > 0.
        num_heads: Attention heads, > 0.

    """

    kind: Kind
    width: int
    num_layers: int
    num_heads: int

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "width", "num_layers", "num_heads")
        if self.num_heads > 0 and self.width % self.num_heads:
            yield Problem("width", f"must be a multiple of num_heads={self.num_heads}", self.width)

    @property
    def name(self) -> str:
        return "tiny"

    @property
    def max_length(self) -> int:
        return 512

    def known_kind(self) -> Kind:
        return self.kind

    def known_size(self) -> Size:
        return Size(8 * self.num_layers * self.width**2)  # without the embeddings of its few words

    def light_tokenizer(self) -> LightTokenizer:
        return LightTokenizer(_tokenizer(), _NAMED)

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import PreTrainedTokenizerFast

        named = {f"{role}_token": token for role, token in _NAMED.items()}
        return read_plainly(
            PreTrainedTokenizerFast(tokenizer_object=_tokenizer(), model_max_length=512, **named)
        )

    def load_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        return self.new_network(auto_class, **config)

    def new_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        import transformers

        if is_pair(auto_class, self.kind):
            return build_pair(self.new_network, self.load_tokenizer, config)
        architecture = self._architecture(**config)
        network: PreTrainedModel = getattr(transformers, auto_class).from_config(architecture)
        return network

    def _architecture(self, **config: Any) -> PreTrainedConfig:
        import transformers

        size, narrow, wide = len(_SPECIAL) + len(_words()), self.num_heads, 2 * self.width
        start, end = _SPECIAL.index("[CLS]"), _SPECIAL.index("[SEP]")
        ids = {"vocab_size": size, "pad_token_id": 0, "bos_token_id": start, "eos_token_id": end}
        if self.kind is Kind.encoder:
            return transformers.BertConfig(
                hidden_size=self.width,
                num_hidden_layers=self.num_layers,
                num_attention_heads=narrow,
                intermediate_size=wide,
                **{"vocab_size": size, **config},
            )
        if self.kind is Kind.decoder:
            return transformers.GPT2Config(
                n_embd=self.width,
                n_layer=self.num_layers,
                n_head=narrow,
                n_inner=wide,
                n_positions=512,
                **{**ids, **config},
            )
        return transformers.BartConfig(
            d_model=self.width,
            encoder_layers=self.num_layers,
            decoder_layers=self.num_layers,
            encoder_attention_heads=narrow,
            decoder_attention_heads=narrow,
            encoder_ffn_dim=wide,
            decoder_ffn_dim=wide,
            max_position_embeddings=512,
            decoder_start_token_id=start,
            forced_eos_token_id=None,
            **{**ids, **config},
        )


def _tokenizer() -> Tokenizer:
    """Return a tokenizer of the words, in lower case."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: index for index, word in enumerate((*_SPECIAL, *_words()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    return tokenizer


def _words() -> list[str]:
    """Return the words that occur at least twice in the embedded reviews, in sorted order."""
    text = REVIEWS.read_text(encoding="utf-8").lower()
    counts = Counter(re.findall(r"[a-z]+|[^\sa-z]", text))
    return sorted(word for word, count in counts.items() if count > 1)
