"""Any other PEFT method: `strategy=peft strategy.method=vera 'strategy.options={r: 64}'`.

`method` is PEFT's name for it, in any case; `options` are fields of that method's configuration,
described in PEFT's documentation. Without `target_modules` among the options, a method that adapts
chosen layers adapts every linear layer of the backbone. The head is trained in full.

Paper and cost: those of the method. The number of trained parameters is shown when training
starts.
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

_OWN = "it has its own strategy, because it needs the number of steps of the run"
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
"""Methods that a configuration alone cannot set up, and why."""
_TAKEN = frozenset(
    (
        *("peft_type", "task_type", "inference_mode", "modules_to_save", "fan_in_fan_out"),
        *("base_model_name_or_path", "revision", "auto_mapping", "peft_version"),
    )
)
"""Fields that the network and its task decide."""
_PROMPTS = frozenset(("cartridge", "p_tuning", "prefix_tuning", "prompt_tuning"))
_PREFIXES = frozenset(("cartridge", "prefix_tuning"))  # keys and values instead of vectors
# Methods that adapt norms, or layers that PEFT selects by architecture.
_OTHER_LAYERS = frozenset(("beft", "ia3", "ln_tuning"))


@dataclass(frozen=True, kw_only=True)
class Peft(PeftStrategy):
    """Train the parameters that a PEFT method adds, and the head.

    Attributes:
        method: PEFT's name for the method, e.g. `vera`, `loha` or `hra`.
        options: Fields of the method's configuration, e.g. `{r: 64}`; the rest keep PEFT's
            defaults.

    """

    method: str | None
    options: dict[str, Any]

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if not self.method:
            fix = "Set strategy.method=vera or another method."
            yield Problem("method", "must be a PEFT method", self.method, fix)

    def check(self, model: Model, task: Task) -> None:
        super().check(model, task)
        self._check_method()
        made = config_class(self.peft_type)
        known = {field.name for field in fields(made)} - _TAKEN
        for name, value in self.options.items():
            where = f"strategy.options.{name}"
            if name in _TAKEN:
                rule = "must be left out, because the model and the task determine it"
                raise ConfigError(Problem(where, rule, value))
            if name not in known:
                rule = f"must be a field of {made.__name__}"
                raise ConfigError(Problem(where, rule, value, did_you_mean(name, known)))
        with self.translating_errors():
            made(**self.options)
        if self._method in _PROMPTS - _PREFIXES:
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
            rule = f"must be another PEFT method: {_REFUSED[self._method]}"
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

    @property
    def can_recompute(self) -> bool:
        return self._method not in _PREFIXES

    def settings(self, network: nn.Module) -> Mapping[str, Any]:
        known = {field.name for field in fields(config_class(self.peft_type))}
        if "target_modules" not in known or self._method in _OTHER_LAYERS:
            return self.options
        return {"target_modules": ALL_LINEAR, **self.options}

    def adapt(self, network: nn.Module) -> nn.Module:
        head = tuple(new_parts(network))
        adapted = super().adapt(network)
        cut_answers(adapted)
        with self.translating_errors():
            check_answers(adapted)
        if not any(
            _is_new(name, head) for name, p in adapted.named_parameters() if p.requires_grad
        ):
            rule = "must train something besides the head"
            got = Verbatim(f"{self._method}, which trains nothing else in this model")
            raise ConfigError(Problem("strategy.method", rule, got))
        return adapted


def _is_new(name: str, head: tuple[str, ...]) -> bool:
    """Return whether the parameter belongs to the method, not to the head."""
    return not any(f".{part}.modules_to_save." in name for part in head)
