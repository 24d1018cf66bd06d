"""Every configuration class of transformers' mappings for texts is read without an error."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from transformers.models.auto import modeling_auto

from lightning_modules.model.dtype import dtype_of
from lightning_modules.model.end import end_tokens
from lightning_modules.model.kind import Kind, kind_of
from lightning_modules.model.position import num_positions
from lightning_modules.model.pretrained import Pretrained
from lightning_modules.model.role import name_roles
from lightning_modules.model.size import size_of
from lightning_modules.model.vocabulary import num_embeddings

WRITERS, OTHERS = "CAUSAL_LM", ("MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM")
HEADS = ("SEQUENCE_CLASSIFICATION", "TOKEN_CLASSIFICATION", "QUESTION_ANSWERING")
REFUSES_ITS_DEFAULTS = {"gemma4_assistant"}


def classes() -> dict[str, list[tuple[str, str]]]:
    """Return each type's heads: the mapping and the name of the class."""
    found: dict[str, list[tuple[str, str]]] = {}
    for head in (WRITERS, *OTHERS, *HEADS):
        names = getattr(modeling_auto, f"MODEL_FOR_{head}_MAPPING_NAMES")
        for kind, name in names.items():
            each = [name] if isinstance(name, str) else list(name)
            found.setdefault(kind, []).extend((head, one) for one in each)
    return found


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_every_class() -> None:
    lacking = {"eos_token_id": 0, "pad_token_id": 0}
    known = classes()
    assert len(known) > 200
    for model_type, heads in sorted(known.items()):
        if model_type in REFUSES_ITS_DEFAULTS:
            continue
        config = transformers.CONFIG_MAPPING[model_type]()
        for name in lacking:
            lacking[name] += not hasattr(config, name)
        for head, architecture in heads:
            values = {**config.to_dict(), "architectures": [architecture]}
            check(json.loads(json.dumps(values, default=str)), config, head)
    assert all(lacking.values())


def check(file: dict[str, Any], config: Any, head: str) -> None:
    """Read a config.json, and a network's configuration, as loading and training do."""
    where = f"{file['model_type']}, {head}"
    assert all(isinstance(token, int) and token >= 0 for token in end_tokens(network_of(config)))
    kind = kind_of(file)
    if head == WRITERS and not file.get("is_encoder_decoder"):
        writes = file["architectures"][0] not in NOT_TEXTS
        assert not writes or kind is Kind.decoder, where
    for value in (num_positions(file), num_embeddings(file)):
        assert value is None or value > 0, where
    size = size_of(file)
    assert size is None or size.parameters > 0, where
    dtype_of(file)
    network = network_of(config)
    Pretrained._with_padding(SimpleNamespace(_own_tokenizer=lambda: None), network)  # type: ignore[arg-type]
    assert hasattr(network.config, "pad_token_id"), where
    tokenizer = Tokenizer(
        **dict.fromkeys(f"{role}_token" for role in ("eos", "sep", "unk", "cls", "bos", "mask")),
        pad_token=None,
        convert_ids_to_tokens=lambda number: f"<{number}>",
    )
    list(name_roles(tokenizer, file))
    assert tokenizer.pad_token == tokenizer.eos_token, where


class Tokenizer(SimpleNamespace):
    """A tokenizer without special tokens that has every token of the mappings' configurations."""

    def __len__(self) -> int:
        return 1_000_000


NOT_TEXTS = {"MossTranscribeDiarizeForConditionalGeneration"}
"""Those of the mapping for texts that write them from sound."""


def network_of(config: Any) -> Any:
    return SimpleNamespace(config=config, generation_config=None)
