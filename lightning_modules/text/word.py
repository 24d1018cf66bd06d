"""Texts as tokens, word by word, if a tokenizer reads each word alone: BERT's WordPiece.

Its normalizer changes characters one by one, its pre-tokenizer cuts at spaces, and its model reads
what is between them. So the tokens of a text are those of its words, in order, and a word that
occurs a thousand times is read once. Ten thousand sentences of reviews, 20 words each, have 9,000
different words, most of which the next ten thousand have, too.

Only spaces (U+0020) are cut at here; what else may stand between words is left to the tokenizer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from typing import Any

NUM_TEXTS = 1_000
"""Fewer texts are not worth it."""
MAX_SHARE_NEW = 0.5
"""Most different words, as a share of all; texts in a language without spaces have more."""
MAX_WORDS = 200_000
"""Most words whose tokens are kept, in some 40 MB."""
MAX_CHARACTERS = 20
"""Of a word that is kept; links, or sentences without spaces, are longer, and seldom come again."""
_PLAIN = r"(?:\\[^\w\s]|[^\\\s.^$\[\](){}*+?])"
_WITHIN_WORDS = re.compile(rf"{_PLAIN}\(\?={_PLAIN}*\)")
"""A character before others, none of which is a space."""


def read_words(backend: Any, texts: Sequence[str]) -> list[list[int]] | None:
    """Return the tokens of each text; None if the tokenizer must read them.

    Args:
        backend: A tokenizer of `tokenizers`, set to truncate and not to pad.
        texts: The texts.

    """
    if len(texts) < NUM_TEXTS or (around := _around(backend)) is None:
        return None
    known = _known(backend.to_str(), backend.encode_special_tokens)
    words = [text.split(" ") for text in texts]
    new = [each for each in dict.fromkeys(chain.from_iterable(words)) if each not in known]
    if len(new) > MAX_SHARE_NEW * sum(map(len, words)):
        return None
    found = backend.encode_batch(new, add_special_tokens=False)
    read = dict(zip(new, (tuple(each.ids) for each in found), strict=True))
    tokens = {**known, **read}
    short = (each for each in new if len(each) <= MAX_CHARACTERS)
    room = max(MAX_WORDS - len(known), 0)
    known.update((each, read[each]) for each in islice(short, room))
    most, before, after = around.num_tokens, around.before, around.after
    return [
        [*before, *islice(chain.from_iterable(map(tokens.__getitem__, each)), most), *after]
        for each in words
    ]


@lru_cache(maxsize=1)
def _known(backend: str, encodes_specials: bool) -> dict[str, tuple[int, ...]]:
    """Return the tokens of the words that a tokenizer, as JSON, has read; to be added to."""
    return {}


@dataclass(frozen=True)
class _Around:
    """What is around the tokens of a text.

    Attributes:
        before: The tokens before them.
        after: The tokens after them.
        num_tokens: Most tokens of the text itself.

    """

    before: Sequence[int]
    after: Sequence[int]
    num_tokens: int


def _around(backend: Any) -> _Around | None:
    """Return what is around a text; None if its words are not read alone."""
    cut = backend.truncation
    if not _reads_words(backend.to_str()) or cut is None or cut["direction"] != "right":
        return None
    alone, within = backend.encode("a", add_special_tokens=False).ids, backend.encode("a")
    is_special = within.special_tokens_mask
    num_before = is_special.index(0) if 0 in is_special else len(is_special)
    before, after = within.ids[:num_before], within.ids[num_before + len(alone) :]
    most = cut["max_length"] - len(before) - len(after)
    if within.ids != [*before, *alone, *after] or any(within.type_ids) or most <= 0:
        return None
    return _Around(before, after, most)


@lru_cache(maxsize=4)
def _reads_words(backend: str) -> bool:
    """Return whether a tokenizer, as JSON, reads each word of a text alone."""
    content = json.loads(backend)
    normalizer = content["normalizer"] or {}
    first, *rules = normalizer.get("normalizers") or [normalizer]
    kinds = [
        (each or {}).get("type") for each in (first, content["pre_tokenizer"], content["model"])
    ]
    return (
        kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"]
        and all(map(_is_within_words, rules))
        and not any(_may_have_space(token, rules) for token in content["added_tokens"])
    )


def _may_have_space(token: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether an added token may begin in one word and end in another.

    Of a normalized one, any white space is a space, e.g. the line end that models of dialogues add,
    and a rule may write one.
    """
    return any(map(str.isspace, token["content"])) or (bool(rules) and token["normalized"])


def _is_within_words(rule: Mapping[str, Any]) -> bool:
    """Return whether a normalizer changes each word on its own (`model.plain`)."""
    pattern = rule.get("pattern", {}).get("Regex", "")
    return rule["type"] == "Replace" and _WITHIN_WORDS.fullmatch(pattern) is not None
