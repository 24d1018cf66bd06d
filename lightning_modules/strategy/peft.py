"""Any other method of PEFT: `strategy=peft strategy.method=vera 'strategy.options={r: 64}'`.

`method` is PEFT's name of it in whatever case, `options` are fields of that method's
configuration, as PEFT's documentation has them. Methods with a choice of layers take every linear
layer of the backbone where `target_modules` is not among the options; the head is trained in full.

Paper and cost: the method's own. The trained parameters are counted and told when training begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from lightning_modules.model.part import new_parts
from lightning_modules.strategy.adapter.base import (
    ALL_LINEAR,
    PeftStrategy,
    config_class,
    cut_answers,
)
from lightning_modules.strategy.adapter.virtual import check_answers, check_reads_prompt

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.model.base import Model
    from lightning_modules.task.base import Task

_OWN = "this is a strategy of its own, as it needs to know the run's steps"
_MORE = "it needs more than a configuration"
_REFUSED = {
    "adalora": _OWN,
    "adaption_prompt": "it trains no head",
    "cpt": _MORE,
    "multitask_prompt_tuning": _MORE,
    "poly": _MORE,
    "trainable_tokens": "it trains no head",
    "xlora": _MORE,
}
"""Methods that cannot be had by a configuration alone, and why."""
_TAKEN = frozenset(
    (
        *("peft_type", "task_type", "inference_mode", "modules_to_save", "fan_in_fan_out"),
        *("base_model_name_or_path", "revision", "auto_mapping", "peft_version"),
    )
)
"""Fields that the network and its task decide."""
_PROMPTS = frozenset(("cartridge", "p_tuning", "prefix_tuning", "prompt_tuning"))
# Their own layers are norms, or layers that PEFT knows by an architecture's name.
_OTHER_LAYERS = frozenset(("beft", "ia3", "ln_tuning"))


@dataclass(frozen=True, kw_only=True)
class Peft(PeftStrategy):
    """Train what a method of PEFT adds, and the head.

    Attributes:
        method: PEFT's name of the method, as `vera`, `loha` or `hra`.
        options: Fields of the method's configuration, as `{r: 64}`; the rest is as PEFT has it.

    """

    method: str | None
    options: dict[str, Any]

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if not self.method:
            fix = "Set strategy.method=vera, or another that PEFT has."
            yield Problem("method", "must be a method of PEFT", self.method, fix)

    def check(self, model: Model, task: Task) -> None:
        super().check(model, task)
        self._check_method()
        made = config_class(self.peft_type)
        known = {field.name for field in fields(made)} - _TAKEN
        for name, value in self.options.items():
            where = f"strategy.options.{name}"
            if name in _TAKEN:
                rule = "must be left out, as the model and the task decide it"
                raise ConfigError(Problem(where, rule, value))
            if name not in known:
                rule = f"must be a field of {made.__name__}"
                raise ConfigError(Problem(where, rule, value, did_you_mean(name, known)))
        with self.telling():
            made(**self.options)
        if self._method in _PROMPTS - {"prefix_tuning", "cartridge"}:
            check_reads_prompt("peft", model, task)

    def _check_method(self) -> None:
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

        known = sorted(each.value.lower() for each in PEFT_TYPE_TO_CONFIG_MAPPING)
        offered = [name for name in known if name not in _REFUSED]
        if self._method not in known:
            fix = did_you_mean(self._method, offered)
            rule = f"must be one of {', '.join(offered)}"
            raise ConfigError(Problem("strategy.method", rule, self.method, fix))
        if self._method in _REFUSED:
            fix = "Set strategy=adalora." if self._method == "adalora" else ""
            rule = f"must be another method of PEFT: {_REFUSED[self._method]}"
            raise ConfigError(Problem("strategy.method", rule, self.method, fix))

    @property
    def _method(self) -> str:
        return str(self.method).lower()

    @property
    def peft_type(self) -> str:
        return self._method.upper()

    @property
    def num_virtual_tokens(self) -> int:
        return int(self.options.get("num_virtual_tokens") or 0)

    @property
    def merges(self) -> bool:
        return self._method not in _PROMPTS

    def settings(self, network: nn.Module) -> Mapping[str, Any]:
        known = {field.name for field in fields(config_class(self.peft_type))}
        if "target_modules" not in known or self._method in _OTHER_LAYERS:
            return self.options
        return {"target_modules": ALL_LINEAR, **self.options}

    def adapt(self, network: nn.Module) -> nn.Module:
        head = tuple(new_parts(network))
        adapted = super().adapt(network)
        cut_answers(adapted)
        with self.telling():
            check_answers(adapted)
        if not any(
            _is_new(name, head) for name, p in adapted.named_parameters() if p.requires_grad
        ):
            rule, got = "must train something beside the head", Verbatim(f"{self._method}, nothing")
            raise ConfigError(Problem("strategy.method", rule, got))
        return adapted


def _is_new(name: str, head: tuple[str, ...]) -> bool:
    """Say whether the parameter is the method's, not the head's."""
    return not any(f".{part}.modules_to_save." in name for part in head)
