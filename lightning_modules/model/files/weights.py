"""The headers of weights in safetensors: whole, of the right numbers, and nothing missing.

Only headers are read, a few kB each: not the weights, and without torch.
Format: github.com/huggingface/safetensors (8 bytes with the header's length, the header in JSON,
the numbers).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_modules.machine.hub.file import INDEX, SINGLE, pickled
from lightning_modules.model.files.fault import AGAIN, Fault
from lightning_modules.model.files.text import check_file, read_object

Shapes = dict[str, tuple[str, tuple[int, ...]]]
"""The number format and the shape of each tensor, by its name."""

MAX_HEADER = 100_000_000
"""Bytes; safetensors itself refuses more."""
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
_FLOATS = ("F16", "BF16", "F32", "F64")
_EMBEDDINGS = re.compile(r"(^|\.)(word_embeddings|embed_tokens|wte|shared|tok_embeddings)\.weight$")
_LAYER = re.compile(r"^(.*?)(^|\.)(layers?|h|blocks?)\.(\d+)\.(.*)$")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")
_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


def weight_files(folder: Path) -> list[str]:
    """Return the names of the files with the weights; raise Fault if one is missing."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if SINGLE in names:
        return [SINGLE]
    if INDEX in names:
        return sorted(set(_weight_map(folder).values()))
    rule, fix = "must be there", AGAIN
    others = pickled(names)
    if others:
        rule = "must be there, because loading pickled weights can run code"
        fix = "Save it again with save_pretrained, which writes safetensors."
    raise Fault(SINGLE, rule, ", ".join(others) or "no such file", fix)


def check_weights(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise Fault if the weights beside a checked config.json are damaged or not of its sizes."""
    shapes: Shapes = {}
    files = weight_files(folder)
    by_file = {file: read_header(folder, file) for file in files}
    for found in by_file.values():
        shapes |= found
    if files != [SINGLE]:
        for tensor, file in _weight_map(folder).items():
            if tensor not in by_file[file]:
                raise Fault(file, f"must have {tensor}, which {INDEX} says", "none")
    if not shapes:
        raise Fault(files[0], "must have weights", "none")
    if not _has(config, "quantization_config"):
        _check_dtypes(files[0], shapes)
        _check_embeddings(files[0], shapes, config)
    _check_layers(files[0], shapes, config)


def read_header(folder: Path, file: str) -> Shapes:
    """Return what a file of safetensors says of its tensors; raise Fault if it is damaged."""
    path = folder / file
    check_file(path, file)
    rule = "must be a whole file of safetensors"
    try:
        size = path.stat().st_size
        with path.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
                raise Fault(file, rule, f"{size} bytes with a header of {length}")
            header = json.loads(opened.read(length))
    except OSError as error:
        raise Fault(file, "must be readable", str(error.strerror), "See who may read it.") from None
    except (ValueError, RecursionError):
        raise Fault(file, rule, "a damaged header") from None
    if not isinstance(header, dict):
        raise Fault(file, rule, "a header that is not an object")
    header.pop("__metadata__", None)
    shapes, end = {}, 0
    for name, value in header.items():
        shapes[name], last = _tensor(file, name, value)
        end = max(end, last)
    if end != size - 8 - length:
        raise Fault(file, rule, f"{size - 8 - length} bytes of weights instead of {end}")
    return shapes


def _tensor(file: str, name: str, value: Any) -> tuple[tuple[str, tuple[int, ...]], int]:
    rule = "must be a whole file of safetensors"
    try:
        dtype, shape = str(value["dtype"]), tuple(value["shape"])
        start, end = value["data_offsets"]
        is_right = all(type(each) is int and each >= 0 for each in (*shape, start, end))
        bits = _BITS.get(dtype)
        if bits is not None:
            is_right = is_right and math.prod(shape) * bits == 8 * (end - start)
    except (KeyError, TypeError, ValueError):
        is_right = False
    if not is_right:
        raise Fault(file, rule, f"a damaged entry for {name[:100]}")
    return (dtype, shape), end


def _weight_map(folder: Path) -> dict[str, str]:
    found = read_object(folder, INDEX).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise Fault(INDEX, "must have a weight_map from tensors to files", "another one")
    if not found:
        raise Fault(INDEX, "must name files", "none")
    for file in found.values():
        if "/" in file or "\\" in file or not file.endswith(".safetensors"):
            rule = "must name files of safetensors in the folder itself"
            raise Fault(INDEX, rule, repr(file[:100]))
    return found


def _check_dtypes(file: str, shapes: Shapes) -> None:
    for name, (dtype, shape) in shapes.items():
        if name.endswith(".weight") and len(shape) > 1 and dtype not in _FLOATS:
            rule = f"must have floating-point numbers in {name}"
            raise Fault(file, rule, dtype, "Choose weights that are not quantized.")


def _check_embeddings(file: str, shapes: Shapes, config: Mapping[str, Any]) -> None:
    """Raise Fault if the embeddings have a number of rows or columns that no setting has.

    A configuration may leave out sizes that are its architecture's defaults, which are not known
    here, or have them in parts; then the loaded network is compared alone.
    """
    has_sizes = config.get("vocab_size") is not None and any(config.get(key) for key in _WIDTHS)
    if not has_sizes or "text_config" in config:
        return
    known = set(_numbers(config))
    for name, (_, shape) in shapes.items():
        if _EMBEDDINGS.search(name) and len(shape) == 2 and not known.issuperset(shape):
            sizes = " x ".join(map(str, shape))
            rule = f"must have {name} of the sizes in config.json"
            raise Fault(file, rule, sizes, "Bring config.json and weights from the same model.")


def _check_layers(file: str, shapes: Shapes, config: Mapping[str, Any]) -> None:
    """Raise Fault if layers are missing, which transformers would draw at random."""
    stacks: dict[str, set[int]] = {}
    for name in shapes:
        match = _LAYER.match(name)
        if match is not None:
            stacks.setdefault(match[1] + match[2] + match[3], set()).add(int(match[4]))
    for stack, numbers in stacks.items():
        missing = sorted(set(range(max(numbers))) - numbers)
        if missing:
            raise Fault(file, f"must have every layer of {stack}", f"none of number {missing[0]}")
    text = config.get("text_config")
    parts = (config, text if isinstance(text, Mapping) else {})
    depths = [part[name] for part in parts for name in _DEPTHS if type(part.get(name)) is int]
    most = max((len(numbers) for numbers in stacks.values()), default=0)
    if stacks and depths and most < min(depths):
        rule = f"must have the {min(depths)} layers of config.json"
        raise Fault(file, rule, str(most), "Bring config.json and weights from the same model.")


def _numbers(values: Any) -> Iterator[int]:
    if isinstance(values, Mapping):
        for value in values.values():
            yield from _numbers(value)
    elif isinstance(values, list):
        for value in values:
            yield from _numbers(value)
    elif isinstance(values, int):
        yield values


def _has(config: Mapping[str, Any], name: str) -> bool:
    text = config.get("text_config")
    return any(part.get(name) for part in (config, text if isinstance(text, Mapping) else {}))
