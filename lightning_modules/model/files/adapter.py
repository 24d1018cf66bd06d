"""The files of an adapter of PEFT: its configuration and its weights in safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_modules.model.files.code import check_library, check_names
from lightning_modules.model.files.fault import Fault
from lightning_modules.model.files.text import read_object
from lightning_modules.model.files.weights import read_header

CONFIG, WEIGHTS, PICKLED = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)

ADAPTER, BASE = "adapter", "base"
"""The folders of an export with the adapter, and with a base that cannot be downloaded."""
_AUTO_CLASSES = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
}
_VIRTUAL = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CARTRIDGE", "MULTITASK_PROMPT_TUNING")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder is an export of an adapter alone, which needs its base."""
    return (folder / ADAPTER).is_dir() and not any(folder.glob("*.safetensors"))


def auto_class_of(values: Mapping[str, Any]) -> str:
    """Return the Auto class of the network that an adapter is on."""
    return _AUTO_CLASSES.get(str(values.get("task_type")), "AutoModel")


def base_of(values: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return folder or hub name, and commit, of an adapter's base; raise Fault if it names none."""
    name, revision = values.get("base_model_name_or_path"), values.get("revision")
    if not name:
        rule, fix = "must name its base as base_model_name_or_path", "Export the model again."
        raise Fault(CONFIG, rule, "none", fix)
    return str(name), revision


def check_complete(folder: Path, adapted: Any) -> None:
    """Raise Fault if a loaded adapter did not get all its weights: others are drawn at random."""
    from peft import get_peft_model_state_dict

    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    for name in sorted(wanted - read_header(folder, WEIGHTS).keys()):
        raise Fault(WEIGHTS, f"must have {name}", "none")


def check_merges(values: Mapping[str, Any]) -> None:
    """Raise Fault if an adapter cannot become a part of its base's weights."""
    if values["peft_type"] in _VIRTUAL:
        rule, got = "must be merged to be trained on", f"virtual tokens ({values['peft_type']})"
        raise Fault(CONFIG, rule, got, "Train its base model instead.")


def check_adapter(folder: Path) -> dict[str, Any]:
    """Return the checked configuration of an adapter; raise Fault if it cannot be used."""
    values = read_object(folder, CONFIG)
    kind, base = values.get("peft_type"), values.get("base_model_name_or_path")
    if not isinstance(kind, str):
        raise Fault(CONFIG, "must name the method as peft_type", repr(kind))
    if base is not None and not isinstance(base, str):
        raise Fault(CONFIG, "must name its base as base_model_name_or_path", repr(base))
    if (revision := values.get("revision")) is not None and not isinstance(revision, str):
        raise Fault(CONFIG, "must have a text as revision, or null", repr(revision)[:100])
    if kind == "XLORA":
        raise Fault(CONFIG, "must not need other adapters", kind)
    check_library(CONFIG, values)
    check_names(CONFIG, values)
    if not (folder / WEIGHTS).exists() and (folder / PICKLED).exists():
        rule = "must be there, because loading pickled weights can run code"
        fix = "Save it again with save_pretrained, which writes safetensors."
        raise Fault(WEIGHTS, rule, PICKLED, fix)
    if not read_header(folder, WEIGHTS):
        raise Fault(WEIGHTS, "must have weights", "none")
    return values
