"""Special tokens that are spelled in users' texts are read as plain text.

`</s>` ends a text for BART, and is a tag in HTML. A tokenizer reads both alike by default: a text
about HTML ends in its middle, and BART's head refuses texts with two ends. So here tokenizers read
texts as plain text (`read_plainly`). Only what a template writes around the texts has special
tokens: it marks the texts before (`Reader.mark`) and reads the result with `Reader.read`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.rows.corpus import Row, texts_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = "\ufdd0"
"""Before a special token that is text. Unicode never assigns it a character."""
_SOFT = "\n"
"""Read before a piece of a text, as the first word of a text may get a space before it."""


def read_plainly(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Let a tokenizer read special tokens in texts as plain text, by default; return it."""
    tokenizer.split_special_tokens = True
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        keep_from_texts(backend, unknown=tokenizer.unk_token)
    return tokenizer


def keep_from_texts(backend: Any, unknown: str | None) -> None:
    """Let no plain text become a special token in `tokenizers`' Tokenizer, in place.

    T5's vocabulary has its special tokens as words, which plain texts can contain, too. They get a
    space after their first character, which no text notices that lacks them.
    """
    from tokenizers import Regex
    from tokenizers.normalizers import Replace, Sequence

    backend.encode_special_tokens = True
    spelled = [each for each in specials_of(backend) if each != unknown and len(each) > 1]
    ids = [backend.token_to_id(each) for each in spelled]
    try:
        texts = backend.encode_batch([f"a {each} a" for each in spelled], add_special_tokens=False)
    except Exception:  # `tokenizers` has no other class; a vocabulary without a token for unknowns
        return
    words = [each for each, n, text in zip(spelled, ids, texts, strict=True) if n in text.ids]
    firsts = dict.fromkeys(word[0] for word in words)
    rules = []
    for first in firsts:
        rest = any_of(word[1:] for word in words if word[0] == first)
        rules.append(Replace(Regex(f"{re.escape(first)}(?={rest})"), f"{first} "))
    if rules:
        before = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = Sequence([*before, *rules])


def specials_of(tokenizer: Any) -> dict[str, int]:
    """Return a tokenizer's special tokens with their numbers.

    Args:
        tokenizer: One of transformers, of `tokenizers`, or a `LightTokenizer`.

    """
    get = getattr(tokenizer, "get_added_tokens_decoder", None)
    added: Mapping[int, Any] = tokenizer.added_tokens_decoder if get is None else get()
    return {token.content: number for number, token in added.items() if token.special}


class Reader:
    """Reads what a template made of texts: its special tokens as such, those of the texts as text.

    Attributes:
        tokenizer: The tokenizer.

    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._numbers = specials_of(tokenizer)
        words = sorted(self._numbers, key=len, reverse=True)
        self._special = re.compile(any_of(words)) if words else None
        self._unmarked = re.compile(f"(?<!{MARK})(?:{any_of(words)})") if words else None

    def spelled(self, text: str) -> str | None:
        """Return the first special token that a text spells; None if it spells none."""
        found = None if self._special is None else self._special.search(text)
        return None if found is None else found[0]

    def mark(self, value: Any) -> Any:
        """Return a text with a mark before each special token, or a list or mapping of such texts.

        The keys of a mapping stay as they are. A text's own marks are dropped: at its end, one
        would make plain text of the special token that a template writes next.
        """
        if isinstance(value, str):
            plain = value.replace(MARK, "")
            return self._special.sub(rf"{MARK}\g<0>", plain) if self._special else plain
        if isinstance(value, Mapping):
            return {key: self.mark(each) for key, each in value.items()}
        return [self.mark(each) for each in value] if isinstance(value, list | tuple) else value

    def escape(self, text: str) -> str:
        """Return a text with a space inside each special token that it spells.

        For prompts that the code of a task tokenizes, together with their template's.
        """
        return re.sub(f"{MARK}(.)", r"\1 ", self.mark(text), flags=re.DOTALL)

    def read(self, text: str) -> tuple[list[int], list[tuple[int, int]] | None]:
        """Return a text's tokens, and where in it each is; None if the tokenizer cannot say it.

        Special tokens without a mark are read as such. Marks have no token.
        """
        if MARK not in text:
            return self._tokens(text, is_plain=False)
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        has_places = True
        for start, end, is_special in self._pieces(text):
            if is_special:
                ids.append(self._numbers[text[start:end]])
                places.append((start, end))
                continue
            at = [place for place in range(start, end) if text[place] != MARK]
            found, spans = self._piece("".join(text[place] for place in at), is_first=start == 0)
            ids += found
            has_places &= spans is not None
            places += [_place(at, *span) for span in spans or ()]
        return ids, places if has_places else None

    def _pieces(self, text: str) -> Iterator[tuple[int, int, bool]]:
        """Yield starts and ends of the special tokens without a mark, and of what is between."""
        at = 0
        for found in self._unmarked.finditer(text) if self._unmarked else ():
            if found.start() > at:
                yield at, found.start(), False
            yield *found.span(), True
            at = found.end()
        if at < len(text):
            yield at, len(text), False

    def _piece(
        self, text: str, *, is_first: bool
    ) -> tuple[list[int], list[tuple[int, int]] | None]:
        if is_first:
            return self._tokens(text, is_plain=True)
        before, _ = self._tokens(_SOFT, is_plain=True)
        ids, places = self._tokens(_SOFT + text, is_plain=True)
        if not before or ids[: len(before)] != before:
            return self._tokens(text, is_plain=True)
        after = None if places is None else places[len(before) :]
        moved = None if after is None else [(max(a - 1, 0), max(b - 1, 0)) for a, b in after]
        return ids[len(before) :], moved

    def _tokens(
        self, text: str, *, is_plain: bool
    ) -> tuple[list[int], list[tuple[int, int]] | None]:
        read = self.tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=is_plain,
            verbose=False,
            **({"return_offsets_mapping": True} if self.tokenizer.is_fast else {}),
        )
        places = read.get("offset_mapping")
        return list(read["input_ids"]), None if places is None else list(places)


def unmarked(text: str) -> str:
    """Return a text without marks."""
    return text.replace(MARK, "")


def spelled_notes(rows: Sequence[Row], tokenizer: Any, name: str) -> Iterator[str]:
    """Yield a line on the rows whose texts spell special tokens, if there are any.

    Args:
        rows: The rows.
        tokenizer: The tokenizer.
        name: What the rows are, e.g. `training rows`.

    """
    reader = Reader(tokenizer)
    words = (next(filter(None, map(reader.spelled, texts_in(row))), None) for row in rows)
    found = [word for word in words if word is not None]
    if found:
        what = f"spell{'s' * (len(found) == 1)} special tokens of the model, e.g. {found[0]}"
        yield f"{len(found):,} of {len(rows):,} {name} {what}; texts are read as plain text"


def any_of(words: Iterable[str]) -> str:
    """Return a regular expression of words, of which the first that fits counts."""
    return "|".join(map(re.escape, words))


def _place(at: list[int], start: int, end: int) -> tuple[int, int]:
    """Return where characters `start` to `end` of a piece are, whose characters are at `at`."""
    if start >= len(at):
        return (at[-1] + 1, at[-1] + 1) if at else (0, 0)
    return at[start], at[end - 1] + 1 if end > start else at[start]
