"""How a model of sentence-transformers makes an embedding of a text, as its folder says.

`modules.json` lists the parts that a text passes: the network, a pooling of its last states, and
perhaps more, e.g. a dense layer. Names of poolings are those of sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_modules.model.files.fault import Fault
from lightning_modules.model.files.text import read_list, read_object

MODULES = "modules.json"
_PROMPTS, _READER = "config_sentence_transformers.json", "sentence_bert_config.json"
_CONFIG = "config.json"
_POOLING = "Pooling"
_KEPT = frozenset(("Transformer", _POOLING, "Normalize", "Dropout"))
"""Parts that training keeps: cosines need no unit vectors, and embeddings are used undropped."""
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class Embedder:
    """How texts are embedded.

    Attributes:
        poolings: The names of the poolings, whose outputs are concatenated; none if unknown.
        others: What texts and their embeddings pass besides the network and the pooling, in words.
        is_known: Whether its files, or the list of them, could be looked at.

    """

    poolings: tuple[str, ...]
    others: tuple[str, ...]
    is_known: bool = True


UNKNOWN = Embedder((), (), is_known=False)


def read_embedder(file: Callable[[str], Path | None]) -> Embedder | None:
    """Return how a model embeds texts; None if it is not one of sentence-transformers.

    Args:
        file: Returns the path of a file of the model; None if it has none of that name.

    Raises:
        Fault: A file cannot be used.

    """
    path = file(MODULES)
    if path is None:
        return None
    modules = [each for each in read_list(path.parent, MODULES) if isinstance(each, dict)]
    kinds = [str(each.get("type", "")).rpartition(".")[2] for each in modules]
    poolings: tuple[str, ...] = ()
    for module, kind in zip(modules, kinds, strict=True):
        if kind == _POOLING:
            name = f"{module.get('path', '')}/{_CONFIG}".removeprefix("/")
            if (found := file(name)) is None:
                raise Fault(name, "must be there", "no such file")
            poolings += _poolings(read_object(found.parent, _CONFIG))
    others = [
        f"the module {module.get('path') or kind} ({kind})"
        for module, kind in zip(modules, kinds, strict=True)
        if kind not in _KEPT
    ]
    return Embedder(poolings, (*others, *_of_texts(file)))


def _poolings(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a pooling's file names: flags, as written for years, or one key."""
    named = config.get("pooling_mode")
    if named is not None:
        return tuple(map(str, named)) if isinstance(named, list) else (str(named),)
    return tuple(name for flag, name in _FLAGS.items() if config.get(flag)) or ("mean",)


def _of_texts(file: Callable[[str], Path | None]) -> Iterator[str]:
    """Yield what is done to texts before the tokenizer."""
    if (path := file(_PROMPTS)) is not None:
        prompts = read_object(path.parent, _PROMPTS).get("prompts")
        names = [name for name in prompts if prompts[name]] if isinstance(prompts, dict) else []
        if names:
            yield f"prompts ({', '.join(names)})"
    path = file(_READER)
    if path is not None and read_object(path.parent, _READER).get("do_lower_case"):
        yield "lower case"
