"""Tokenizers trained on the training rows: decoding returns the text unchanged.

`bpe` merges frequent pairs of neighbouring bytes, so it can encode every text without changing it,
in any language, case or script (Sennrich et al. 2016, arXiv:1508.07909; on bytes: Radford et al.
2019). `characters` has one token for each character that occurs in the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING

from lightning_modules.model.kind import Kind
from lightning_modules.model.light import LightTokenizer
from lightning_modules.model.plain import read_plainly

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

PAD, BEGIN, END, UNKNOWN, MASK = SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
_NAMED = {
    "pad": PAD,
    "bos": BEGIN,
    "eos": END,
    "cls": BEGIN,
    "sep": END,
    "unk": UNKNOWN,
    "mask": MASK,
}


class Vocabulary(Enum):
    """Which tokens a run uses."""

    own = "own"
    """The pretrained model's tokens."""
    bpe = "bpe"
    characters = "characters"


def train_tokenizer(
    texts: Iterable[str], vocabulary: Vocabulary, size: int, kind: Kind | None
) -> PreTrainedTokenizerBase:
    """Return a tokenizer trained on the texts; the same texts give the same tokenizer.

    Args:
        texts: All texts that the tokenizer must be able to encode.
        vocabulary: `bpe` or `characters`.
        size: Most tokens for `bpe`, including `SPECIAL` and the 256 bytes.
        kind: For a decoder no special tokens are added to a text, because it continues the text.
            For an encoder-decoder only the end token is added, because generation starts with
            the decoder's own start token. For other models both are added.

    """
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_trained(texts, vocabulary, size, kind),
        **{f"{role}_token": token for role, token in _NAMED.items()},
        # No token types: few architectures have them, and BART rejects them.
        model_input_names=["input_ids", "attention_mask"],
        # Otherwise decoding would turn "do n't" into "don't".
        clean_up_tokenization_spaces=False,
    )
    return read_plainly(tokenizer)


def train_light(
    texts: Iterable[str], vocabulary: Vocabulary, size: int, kind: Kind | None
) -> LightTokenizer:
    """Return the same through `tokenizers` alone."""
    return LightTokenizer(_trained(texts, vocabulary, size, kind), _NAMED)


def _trained(
    texts: Iterable[str], vocabulary: Vocabulary, size: int, kind: Kind | None
) -> Tokenizer:
    from tokenizers.processors import TemplateProcessing

    makers = {Vocabulary.bpe: _bpe, Vocabulary.characters: _characters}
    tokenizer = makers[vocabulary](texts, size)
    if kind is not Kind.decoder:
        ids = [(token, SPECIAL.index(token)) for token in (BEGIN, END)]
        begin = "" if kind is Kind.encoder_decoder else f"{BEGIN} "
        tokenizer.post_processor = TemplateProcessing(
            single=f"{begin}$A {END}", pair=f"{begin}$A {END} $B {END}", special_tokens=ids
        )
    return tokenizer


def _bpe(texts: Iterable[str], size: int) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _characters(texts: Iterable[str], size: int) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    found = sorted(set().union(*texts))
    tokens = {token: number for number, token in enumerate((*SPECIAL, *found))}
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer
