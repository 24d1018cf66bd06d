from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.model.files.fault import Fault
from lightning_modules.model.files.weights import check_weights

BERT = {"model_type": "bert", "vocab_size": 6, "hidden_size": 4, "num_hidden_layers": 2}


def write(folder: Path, **shapes: tuple[int, ...]) -> None:
    """Write weights of zeros; a name has dots as __."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, size = end, 4
        for each in shape:
            size *= each
        end = start + size
        entry = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
        header[name.replace("__", ".")] = entry
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


LAYERS = {f"layer__{number}__dense__weight": (4, 4) for number in range(2)}


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        (BERT, 6),
        ({**BERT, "vocab_size": 5, "padded_size": 6}, 6),  # the number stands in another setting
        ({key: value for key, value in BERT.items() if key != "vocab_size"}, 7),  # a default
        ({**BERT, "text_config": {"hidden_size": 4}}, 7),  # may be its default
    ],
)
def test_sizes_that_the_configuration_allows(here: Path, config: dict[str, Any], rows: int) -> None:
    write(here, word_embeddings__weight=(rows, 4), **LAYERS)
    check_weights(here, config)


@pytest.mark.parametrize(
    ("shape", "layers", "line"),
    [
        ((7, 4), LAYERS, "must have word_embeddings.weight of the sizes in config.json, got 7 x 4"),
        ((6, 5), LAYERS, "got 6 x 5"),
        ((6, 4), {"layer__0__dense__weight": (4, 4)}, "must have the 2 layers of config.json"),
        ((6, 4), {"layer__1__dense__weight": (4, 4)}, "every layer of layer, got none of number 0"),
    ],
)
def test_sizes_that_it_does_not_allow(
    here: Path, shape: tuple[int, ...], layers: dict[str, tuple[int, ...]], line: str
) -> None:
    write(here, word_embeddings__weight=shape, **layers)
    with pytest.raises(Fault, match=line):
        check_weights(here, BERT)


def test_layers_that_are_shared_or_extra_pass(here: Path) -> None:
    write(here, albert_layers__0__dense__weight=(4, 4))
    check_weights(here, BERT)
    write(here, **LAYERS, layer__2__mtp__weight=(4, 4))
    check_weights(here, BERT)
