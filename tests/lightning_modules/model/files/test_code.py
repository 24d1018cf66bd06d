from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from lightning_modules.model.files.code import check_library, check_names
from lightning_modules.model.files.config import architectures
from lightning_modules.model.files.fault import Fault


@pytest.mark.parametrize(
    "values",
    [
        {"attn_implementation": "sdpa", "_attn_implementation": None},
        {"attn_implementation": {"text": "eager", "": "flash_attention_2"}},
        {"experts_implementation": "grouped_mm", "use_kernels": False},
        {"quantization_config": {"quant_method": "gptq"}},
        {
            "transformers_weights": "model.safetensors",
            "text_config": {"transformers_weights": None},
        },
    ],
)
def test_names_of_transformers_pass(values: dict[str, Any]) -> None:
    check_names("config.json", values)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"attn_implementation": "kernels-community/vllm-flash-attn3"}, "vllm-flash-attn3"),
        ({"text_config": {"_attn_implementation": "paged|a/b"}}, "text_config._attn_impl"),
        ({"parts": [{"attn_implementation": {"x": {"": "a/b"}}}]}, "parts.attn_implementation"),
        ({"experts_implementation": "a/b"}, "experts_implementation"),
        ({"quantization_config": {"quant_method": "fp8"}}, "'fp8'. Choose|got 'fp8'"),
        ({"kernel_config": {"a": "b/c"}}, "must not have kernel_config"),
        ({"transformers_weights": "adapter_model.bin"}, "must not name another file as transf"),
        ({"text_config": {"transformers_weights": "a.safetensors.index.json"}}, "as text_config"),
    ],
)
def test_names_of_the_hub_are_refused(values: dict[str, Any], line: str) -> None:
    with pytest.raises(Fault, match=line):
        check_names("config.json", values)


def test_an_adapter_names_models_of_transformers_alone() -> None:
    check_library("adapter_config.json", {"megatron_core": "megatron.core", "auto_mapping": None})
    ours = {"auto_mapping": {"parent_library": "transformers.models.bert.modeling_bert"}}
    check_library("adapter_config.json", ours)
    with pytest.raises(Fault, match=r"got 'transformers_like\.code'"):
        theirs = {"auto_mapping": {"parent_library": "transformers_like.code"}}
        check_library("adapter_config.json", theirs)


def test_an_adapter_unpickles_no_other_file() -> None:
    name = "prompt_tuning_init_state_dict_path"
    check_library("adapter_config.json", {name: None})
    with pytest.raises(Fault, match=rf"must not have {name}, got 'state\.bin'"):
        check_library("adapter_config.json", {name: "state.bin"})


def test_architectures_are_those_of_transformers() -> None:
    from transformers import CONFIG_MAPPING

    assert architectures() == frozenset(CONFIG_MAPPING.keys())


def test_a_configuration_is_checked_without_torch() -> None:
    lines = (
        "import sys, pathlib",
        "from lightning_modules.model.files.folder import ModelFolder",
        "from lightning_modules.error import ConfigError",
        "pathlib.Path('config.json').write_text('{\"model_type\": \"bert\"}')",
        "ModelFolder(pathlib.Path()).check()",
        "assert not {'torch', 'transformers', 'tokenizers', 'peft'} & set(sys.modules)",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
