"""Find what a model's files name that would load code: classes, attention, kernels.

transformers runs code that comes with a model if `auto_map` names it and the caller allows or
confirms that, and downloads kernels (compiled code) from the hub if the name of an attention, of a
way to compute experts or of a quantization asks for them. It loads the file that
`transformers_weights` names in place of model.safetensors, which may be pickled. PEFT imports the
module that `megatron_core` of an adapter names, and may unpickle the file that
`prompt_tuning_init_state_dict_path` names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning_modules.machine.hub.file import SINGLE
from lightning_modules.model.files.fault import Fault
from lightning_modules.model.files.trust import TYPED, is_code_trusted

ATTENTION = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")
EXPERTS = ("eager", "batched_mm", "grouped_mm")
_ALLOWED = {
    name: allowed
    for stem, allowed in (("attn_implementation", ATTENTION), ("experts_implementation", EXPERTS))
    for name in (stem, f"_{stem}", f"_{stem}_internal")
}
_KERNELS = ("kernel_config", "use_kernels", "kernels")
_QUANTIZED = (
    *("auto-round", "awq", "bitsandbytes", "compressed-tensors"),
    *("gptq", "hqq", "quanto", "torchao"),
)
"""Methods of quantization that compute with installed packages, not with kernels of the hub."""
_WEIGHTS = "transformers_weights"
_SOURCE = "prompt_tuning_init_state_dict_path"
_NO_CODE = "Code that comes with a model is not run: choose a model that transformers has itself."
_READ_IT = f"{_NO_CODE[:-1]}, or, if you have read the code and trust it, add {TYPED}."


def check_names(file: str, values: Mapping[str, Any]) -> None:
    """Raise Fault if a configuration names code of the hub, or weights that are not checked."""
    for path, name, value in _walk(values):
        if name in _ALLOWED:
            _check_allowed(file, path, value, _ALLOWED[name])
        elif name in _KERNELS and value:
            raise Fault(file, f"must not have {path}", "kernels of the hub", f"Remove {path}.")
        elif name == "quant_method" and value not in _QUANTIZED:
            fix = "Choose weights that are not quantized, or other ones."
            rule = f"must have {path} among {', '.join(_QUANTIZED)}, which need no code of the hub"
            raise Fault(file, rule, repr(value), fix)
        elif name == _WEIGHTS and value not in (None, SINGLE):
            fix = f"Rename the weights to {SINGLE}, and remove {path}."
            raise Fault(file, f"must not name another file as {path}", repr(value)[:100], fix)


def names_code(values: Mapping[str, Any], auto_class: str = "") -> bool:
    """Return whether a configuration names code beside it, for an Auto class or for any.

    >>> names_code({"auto_map": {"AutoConfig": "code.Config"}}), names_code({})
    (True, False)
    """
    found = values.get("auto_map")
    if isinstance(found, Mapping):
        return bool(found) if not auto_class else auto_class in found
    return bool(found)


def code_fault(file: str, kind: str) -> Fault:
    """Return what is wrong with a file that only code beside it can read."""
    return Fault(file, f"must be of {kind} that transformers has", "code of its own", _READ_IT)


def runs_code(file: str, values: Mapping[str, Any]) -> bool:
    """Return whether a file names code beside it that may run.

    Raises:
        Fault: The code would be downloaded.

    """
    if not is_code_trusted() or not names_code(values):
        return False
    found = values["auto_map"]
    names = found.values() if isinstance(found, Mapping) else [found]
    for name in (name for each in names for name in (each if isinstance(each, list) else [each])):
        if name is not None and ("--" in str(name) or not isinstance(name, str)):
            fix = "Download that code into the folder, and name it there."
            raise Fault(file, "must name code of its own folder", repr(name)[:100], fix)
    return True


def check_library(file: str, values: Mapping[str, Any]) -> None:
    """Raise Fault if an adapter's configuration names a module to import, or a file to unpickle."""
    found = values.get("auto_mapping")
    library = found.get("parent_library") if isinstance(found, Mapping) else None
    if library is not None and str(library).partition(".")[0] != "transformers":
        raise Fault(file, "must have a model of transformers", repr(library), _NO_CODE)
    if values.get("megatron_config") is not None:
        fix = "Choose an adapter for a model of transformers."
        raise Fault(file, "must not have megatron_config", "one", fix)
    if (source := values.get(_SOURCE)) is not None:
        fix = "Choose an adapter that needs no other file."
        raise Fault(file, f"must not have {_SOURCE}", repr(source)[:100], fix)


def _check_allowed(file: str, path: str, value: Any, allowed: tuple[str, ...]) -> None:
    for each in value.values() if isinstance(value, Mapping) else (value,):
        if isinstance(each, Mapping):
            _check_allowed(file, path, each, allowed)
        elif each is not None and each not in allowed:
            rule = f"must have {path} among {', '.join(allowed)}; others load code of the hub"
            raise Fault(file, rule, repr(each), f"Remove {path}.")


def _walk(values: Any, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield path, name and value of every key in nested objects."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield f"{prefix}{name}", str(name), value
            yield from _walk(value, f"{prefix}{name}.")
    elif isinstance(values, list):
        for value in values:
            yield from _walk(value, prefix)
