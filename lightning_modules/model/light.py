"""A tokenizer from its files through `tokenizers` alone: no second for transformers or torch.

It has what a task's `encode` uses of transformers' tokenizers, so that `finesweep plan` counts
tokens and shows examples with the same code that training uses. The tokens are those of
`tokenizer.json`; a class of transformers that changes them while it loads is not imitated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.model.plain import keep_from_texts, specials_of
from lightning_modules.model.role import name_roles
from lightning_modules.schema import MAX_TOKENS

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

FILE, SETTINGS, NAMES, TEMPLATE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_USUAL: Mapping[str, Sequence[str]] = {
    # Older files leave them to the class of the tokenizer: BERT, RoBERTa and BART, GPT-2, T5.
    "bos": ("<s>", "<bos>", "<|endoftext|>"),
    "eos": ("</s>", "<eos>", "<|endoftext|>"),
    "sep": ("[SEP]",),
    "pad": ("[PAD]", "<pad>"),
    "cls": ("[CLS]",),
    "mask": ("[MASK]", "<mask>"),
    "unk": ("[UNK]", "<unk>"),
}


class NotLight(AttributeError):
    """A task asks for what only transformers' tokenizers have."""


class LightTokenizer:
    """A tokenizer with the names of its special tokens and its chat template.

    Attributes:
        is_fast: Like transformers' tokenizers on `tokenizers`, it knows each token's characters.
        truncation_side: Which end of a text that is too long is cut off.
        guessed: What its files do not say and was guessed, in words.
        split_special_tokens: Whether special tokens that texts spell are plain text, by default.

    """

    is_fast = True

    def __init__(
        self,
        tokenizer: Tokenizer,
        special: Mapping[str, str],
        chat_template: str | dict[str, str] | None = None,
    ) -> None:
        # As in transformers, they are whole tokens in every text.
        tokenizer.add_special_tokens(list(dict.fromkeys(special.values())))
        keep_from_texts(tokenizer, special.get("unk"))
        self._tokenizer = tokenizer
        self.chat_template = chat_template
        self.truncation_side = "right"
        self.split_special_tokens = True
        self.init_kwargs: dict[str, Any] = {}
        self.guessed: tuple[str, ...] = ()
        self.special_tokens_map: dict[str, str] = {}
        for role in _ROLES:
            setattr(self, f"{role}_token", special.get(role))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name.removesuffix("_token") in _ROLES:
            number = None if value is None else self._tokenizer.token_to_id(value)
            super().__setattr__(f"{name}_id", number)
            if value is not None:
                self.special_tokens_map[name] = value

    def __getattr__(self, name: str) -> Any:
        raise NotLight(f"{type(self).__name__} has no {name}")

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        return list(dict.fromkeys(self.special_tokens_map.values()))

    def get_added_tokens_decoder(self) -> dict[int, Any]:
        """Return the tokens that are no part of the model's own vocabulary, and special ones."""
        return dict(self._tokenizer.get_added_tokens_decoder())

    @property
    def num_words(self) -> int:
        """The tokens of the model's own vocabulary, without those that were added."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    @property
    def special_ids(self) -> frozenset[int]:
        """The tokens that no text is made of."""
        return frozenset(specials_of(self).values())

    def spelled(self, ids: Sequence[int]) -> str:
        """Return tokens as they are spelled, one after the other."""
        return "".join(self.convert_ids_to_tokens(list(ids)))

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        text_pair: str | Sequence[str] | None = None,
        *,
        text_target: str | Sequence[str] | None = None,
        add_special_tokens: bool = True,
        truncation: bool = False,
        max_length: int | None = None,
        return_offsets_mapping: bool = False,
        split_special_tokens: bool | None = None,
        **ignored: Any,
    ) -> LightEncoding:
        """Return the tokens of a text, of texts, or of pairs of texts, as transformers does."""
        texts: Any = text_target if text is None else text
        is_single = isinstance(texts, str)
        inputs = [texts] if is_single else list(texts)
        if text_pair is not None:
            pairs = [text_pair] if is_single else list(text_pair)
            inputs = list(zip(inputs, pairs, strict=True))
        if truncation and max_length is not None and max_length <= MAX_TOKENS:
            self._tokenizer.enable_truncation(max_length, direction=self.truncation_side)
        else:
            self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        is_plain = (
            self.split_special_tokens if split_special_tokens is None else split_special_tokens
        )
        self._tokenizer.encode_special_tokens = is_plain
        found = self._tokenizer.encode_batch(inputs, add_special_tokens=add_special_tokens)
        return LightEncoding(found, is_single=is_single, with_offsets=return_offsets_mapping)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False, **_: Any) -> str:
        """Return the text of tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def convert_ids_to_tokens(self, ids: int | Sequence[int]) -> Any:
        """Return the spelling of a token or of tokens."""
        if isinstance(ids, int):
            return self._tokenizer.id_to_token(ids)
        return [self._tokenizer.id_to_token(each) for each in ids]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens a text or a pair gets."""
        return int(self._tokenizer.num_special_tokens_to_add(pair))

    def get_chat_template(self, chat_template: str | None, tools: Any = None) -> str:
        """Return the chat template, of several the one for conversations with tools or without."""
        if isinstance(self.chat_template, dict):
            with_tools = tools is not None and "tool_use" in self.chat_template
            return self.chat_template["tool_use" if with_tools else "default"]
        assert self.chat_template is not None
        return self.chat_template


class LightEncoding(dict[str, Any]):
    """The tokens of texts, with the place of each in its text."""

    def __init__(self, found: Sequence[Encoding], *, is_single: bool, with_offsets: bool) -> None:
        self._found = found
        columns: dict[str, list[Any]] = {
            "input_ids": [each.ids for each in found],
            "attention_mask": [each.attention_mask for each in found],
        }
        if with_offsets:
            columns["offset_mapping"] = [each.offsets for each in found]
        super().__init__({name: of[0] if is_single else of for name, of in columns.items()})

    def __missing__(self, name: str) -> Any:
        raise NotLight(f"{type(self).__name__} has no {name}")

    def char_to_token(self, number: int, place: int) -> int | None:
        """Return the token of a character of text `number`; None if it has none."""
        token: int | None = self._found[number].char_to_token(place)
        return token

    def sequence_ids(self, number: int) -> list[int | None]:
        """Return, of each token, which text of pair `number` it is from; None of special ones."""
        return list(self._found[number].sequence_ids)


def read_light(folder: Path, config: Mapping[str, Any] | None = None) -> LightTokenizer | None:
    """Return the tokenizer in a folder; None if it is not there in the format of `tokenizers`.

    `config` is the model's config.json, which may name tokens that the tokenizer does not.
    """
    if not (folder / FILE).is_file():
        return None
    tokenizer = _read(folder / FILE, (folder / FILE).stat().st_mtime_ns)
    if tokenizer is None:
        return None
    named = {**_json(folder / NAMES), **_json(folder / SETTINGS)}
    special: dict[str, str] = {}
    for role in _ROLES:
        value = named.get(f"{role}_token")
        text = value.get("content") if isinstance(value, dict) else value
        usual = (each for each in _USUAL[role] if f"{role}_token" not in named)
        for token in (text, *usual):
            if isinstance(token, str) and tokenizer.token_to_id(token) is not None:
                special[role] = token
                break
    try:
        template = _chat_template(folder, named)
    except (KeyError, TypeError, ValueError):  # `check_tokenizer` reports it
        return None
    light = LightTokenizer(tokenizer, special, template)
    light.guessed = tuple(name_roles(light, config or {}))
    return light


@lru_cache(maxsize=4)
def _read(path: Path, _: int) -> Tokenizer | None:
    """Return the tokenizer of a file at a time; large ones take half a second."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception:  # `tokenizers` has no other class; loading the model reports it
        return None


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str | dict[str, str] | None:
    found = settings.get("chat_template")
    if isinstance(found, list):
        found = {each["name"]: each["template"] for each in found}
    if (folder / TEMPLATE).is_file():
        found = (folder / TEMPLATE).read_text(encoding="utf-8")
        others = sorted((folder / "additional_chat_templates").glob("*.jinja"))
        if others:
            named = {path.stem: path.read_text(encoding="utf-8") for path in others}
            found = {"default": found, **named}
    template: str | dict[str, str] | None = found
    return template


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
