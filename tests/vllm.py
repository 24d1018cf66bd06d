"""What vLLM checks in a model's folder and in an adapter's before it loads them.

vLLM itself needs a GPU and is not installed here. From its source (github.com/vllm-project/vllm,
2026): `vllm/transformers_utils/config.py` reads config.json and its dtype;
`vllm/model_executor/model_loader/default_loader.py` takes *.safetensors, only those that
model.safetensors.index.json names if there is one; `vllm/lora/peft_helper.py` and
`vllm/lora/lora_model.py` read an adapter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

DTYPES = ("float16", "bfloat16", "float32")
MAX_LORA_RANK = 512  # the largest that its max_lora_rank can be set to


def check_model(folder: Path) -> dict[str, Any]:
    """Raise AssertionError if vLLM would refuse the model; return its config.json."""
    config: dict[str, Any] = _read(folder / "config.json")
    assert len(config["architectures"]) == 1
    dtype = config.get("dtype") or config["torch_dtype"]
    assert dtype in DTYPES
    assert "quantization_config" not in config
    tensors = _tensors(folder)
    floats = {kind for kind, _ in tensors.values() if kind.startswith(("F", "BF"))}
    assert floats <= {"float16": {"F16", "F32"}, "bfloat16": {"BF16", "F32"}}.get(dtype, {"F32"})
    assert not any("lora_" in name or "base_layer" in name for name in tensors)
    assert (folder / "tokenizer_config.json").is_file()
    assert (folder / "tokenizer.json").is_file() or list(folder.glob("vocab.*"))
    return config


def check_adapter(folder: Path, base: Any) -> dict[str, Any]:
    """Raise AssertionError if vLLM would refuse the LoRA adapter of a base; return its settings.

    Args:
        folder: The adapter's folder.
        base: The base as a network of transformers.

    """
    settings: dict[str, Any] = _read(folder / "adapter_config.json")
    assert settings["peft_type"] == "LORA" and settings["base_model_name_or_path"]
    assert 0 < settings["r"] <= MAX_LORA_RANK and settings["lora_alpha"] > 0
    assert not settings["modules_to_save"] and settings["bias"] == "none"
    assert not settings["use_dora"]
    names = dict(base.named_modules())
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        tensors = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert tensors
    for name, shape in tensors.items():
        # base_model.model.<module of the base>.lora_A.weight: (rank, in), or lora_B: (out, rank)
        module, part, last = name.removeprefix("base_model.model.").rsplit(".", 2)
        assert name.startswith("base_model.model.") and last == "weight"
        assert part in ("lora_A", "lora_B") and module in names, name
        assert shape[0 if part == "lora_A" else 1] == settings["r"]
    return settings


def _tensors(folder: Path) -> dict[str, tuple[str, list[int]]]:
    """Return dtype and shape of each tensor of a model by name."""
    files = {path.name for path in folder.glob("*.safetensors")}
    index = folder / "model.safetensors.index.json"
    found = {}
    for name in files:
        with safe_open(folder / name, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a mapping
                part = file.get_slice(key)
                found[key] = (part.get_dtype(), part.get_shape())
    if index.is_file():
        placed = _read(index)["weight_map"]
        assert set(placed.values()) == files and placed.keys() == found.keys()
    else:
        assert files == {"model.safetensors"}
    return found


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
