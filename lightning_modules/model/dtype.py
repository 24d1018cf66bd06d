"""The number formats in which the weights of a network are held."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any


class Dtype(Enum):
    """How frozen weights are held; `trainer.precision` is how they compute."""

    auto = "auto"
    """As in the model's file, if the device computes in it; else in fp32."""
    fp32 = "fp32"
    bf16 = "bf16"


def dtype_of(config: Mapping[str, Any]) -> Dtype | None:
    """Return the format of the weights beside a config.json; None if it does not say a known one.

    >>> dtype_of({"torch_dtype": "bfloat16"}), dtype_of({"text_config": {"dtype": "float32"}})
    (<Dtype.bf16: 'bf16'>, <Dtype.fp32: 'fp32'>)
    """
    return _NAMES.get(file_dtype_of(config) or "")


def file_dtype_of(config: Mapping[str, Any]) -> str | None:
    """Return torch's name of the format of the weights beside a config.json; None if unknown.

    >>> file_dtype_of({"dtype": "float16"})
    'float16'
    """
    text = config.get("text_config")
    for part in (config, text if isinstance(text, Mapping) else {}):
        name = str(part.get("dtype") or part.get("torch_dtype")).removeprefix("torch.")
        if name in _FILE_NAMES:
            return name
    return None


_NAMES = {"bfloat16": Dtype.bf16, "float32": Dtype.fp32}
_FILE_NAMES = (*_NAMES, "float16")
