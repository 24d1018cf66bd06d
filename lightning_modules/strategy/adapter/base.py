"""The base class of strategies that PEFT implements: how a network is wrapped and exported.

The backbone is frozen and gets PEFT's new parameters; the head, and any other module without
pretrained weights, is trained in full and saved with them. A strategy gives PEFT's name for its
method and the values of that method's configuration.

PEFT: Mangrulkar et al. 2022, github.com/huggingface/peft.
"""

from __future__ import annotations

import copy
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean, reason_of
from lightning_modules.machine.path import is_path
from lightning_modules.model.dropout import disable_dropout
from lightning_modules.model.files.adapter import ADAPTER, BASE, is_adapter
from lightning_modules.model.files.folder import ModelFolder
from lightning_modules.model.files.manifest import MANIFEST
from lightning_modules.model.head import task_type_of, writes
from lightning_modules.model.multimodal import auto_class_of, other_parts
from lightning_modules.model.part import backbone_of, linear_layers, new_parts, routers
from lightning_modules.model.saved import save_network
from lightning_modules.strategy.adapter.merge import merged_in_place
from lightning_modules.strategy.base import Strategy

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import Tensor, nn

    from lightning_modules.model.base import Model
    from lightning_modules.task.base import Task

ALL_LINEAR = "all-linear"


@dataclass(frozen=True, kw_only=True)
class PeftStrategy(Strategy):
    """Train the parameters that PEFT adds to the frozen network, and the head."""

    telling_share: ClassVar[float] = 0.7  # new parameters begin slowly

    @property
    @abstractmethod
    def peft_type(self) -> str:
        """PEFT's name for the method, e.g. `LORA`."""

    @abstractmethod
    def settings(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the values of the method's configuration for this network."""

    def check_architecture(self, skeleton: nn.Module) -> None:
        try:
            self.adapt(skeleton)
        except RuntimeError:
            pass  # an initialization from the weights, e.g. PiSSA's, cannot be tried without them
        except ConfigError as error:
            causes = {type(each) for each in _causes(error)}
            if not causes & {RuntimeError, NotImplementedError}:
                raise

    def adapt(self, network: nn.Module) -> nn.Module:
        from peft import get_peft_model

        config = self.config(network)
        with self.translating_errors():
            disable_dropout(backbone_of(network))
            adapted: nn.Module = get_peft_model(network, config)
        return adapted

    def config(self, network: nn.Module) -> PeftConfig:
        """Return PEFT's configuration for the network; raise ConfigError if PEFT refuses it."""
        from transformers.pytorch_utils import Conv1D

        made = config_class(self.peft_type)
        values = {**self.settings(network), "task_type": task_type_of(network)}
        known = {field.name for field in fields(made)}
        if "modules_to_save" in known:
            values["modules_to_save"] = new_parts(network)
        others = [*other_parts(network), *routers(network)]
        if others and "exclude_modules" in known:
            values["exclude_modules"] = rf"({'|'.join(map(re.escape, others))})(\..*)?"
        if "fan_in_fan_out" in known:  # GPT-2 stores its weights transposed
            values["fan_in_fan_out"] = any(isinstance(m, Conv1D) for m in network.modules())
        with self.translating_errors():
            config: PeftConfig = made(**values)
        return config

    @contextmanager
    def translating_errors(self) -> Iterator[None]:
        """Turn what PEFT raises for a network that it cannot adapt into a ConfigError."""
        try:
            yield
        except ConfigError:
            raise
        except (ValueError, TypeError, NotImplementedError, AttributeError, KeyError) as error:
            rule = "must be a method that can adapt this model for this task"
            got = Verbatim(f"{self.peft_type.lower()} ({reason_of(error)})")
            fix = "Set strategy=lora, or another model."
            raise ConfigError(Problem("strategy", rule, got, fix)) from error

    def export(self, network: Any, tokenizer: Any, model: Model, task: Task, folder: Path) -> str:
        _save_adapter(network, model, folder)
        merged = self._merged(network)
        if merged is not None:
            return super().export(merged, tokenizer, model, task, folder)
        lines = _save_settings(network, tokenizer, model, model.hub_name or BASE, task, folder)
        if model.hub_name is None:
            virtual = network.peft_config["default"].is_prompt_learning
            base = network.get_base_model() if virtual else network.unload()
            save_network(_unwrapped(base), self.export_dtype(model), folder / BASE)
        return lines

    def export_adapter(
        self, network: Any, tokenizer: Any, model: Model, task: Task, folder: Path
    ) -> str:
        """Write the adapter without its base to `folder`; return lines like `export`."""
        _save_adapter(network, model, folder)
        return _save_settings(network, tokenizer, model, model.hub_name or model.name, task, folder)

    @classmethod
    def needs_base(cls, folder: Path) -> bool:
        return is_adapter(folder)

    @classmethod
    def check_export(cls, folder: Path, labels: Sequence[str], base: str | None) -> None:
        if not cls.needs_base(folder):
            super().check_export(folder, labels, base)
            return
        ModelFolder(folder).check_labels(labels)
        files = ModelFolder(folder / ADAPTER)
        named = files.adapter_config().get("base_model_name_or_path")
        if base is not None and named != base:
            rule = f"its adapter must be one on {base}, as {MANIFEST} says"
            fix = "Export the model again."
            raise ConfigError(Problem("model", rule, named, fix))
        if base is not None:
            return
        where = _base_of(folder)
        if Path(where).is_dir():
            ModelFolder(Path(where)).check_weights()
        elif is_path(where):  # else it is one of the hub
            rule, fix = "the adapter's base must be there", f"Copy it to {folder / BASE}."
            raise ConfigError(Problem("model", rule, Verbatim(f"no folder {where}"), fix))

    @classmethod
    def load_export(
        cls, folder: Path, task: Task, labels: Sequence[str], base: str | None
    ) -> tuple[nn.Module, Strategy | None]:
        import torch

        if not cls.needs_base(folder):
            return super().load_export(folder, task, labels, base)
        # The config is that of the trained network, with its labels.
        config = ModelFolder(folder).load_config()
        where = base or _base_of(folder)
        # The base may be a classifier of other labels; the adapter's file has the trained head.
        plain, _ = ModelFolder(Path(where)).load_network(
            task.auto_class, config, new_head=True, dtype=torch.float32
        )
        task.configure_network(plain)
        network = ModelFolder(folder / ADAPTER).load_adapter(plain)
        cut_answers(network)
        return network, None

    @property
    def keeps_base(self) -> bool:
        return True

    @property
    def merges(self) -> bool:
        """Whether the trained parameters can be merged into the weights that they adapt."""
        return True

    @property
    def merges_in_place(self) -> bool:
        """Whether PEFT is known to merge the method's parameters without a loss."""
        return False

    def _merged(self, network: Any) -> Any:
        """Return the merged network; None if there is none with the same answers."""
        import torch

        from lightning_modules.model.held import in_fp32

        if not self.merges:
            return None
        if self.merges_in_place:
            return _unwrapped(merged_in_place(network))
        network = in_fp32(network)  # for the answers to be compared
        try:
            merged = _unwrapped(copy.deepcopy(network).merge_and_unload())
        except (NotImplementedError, AttributeError):  # how PEFT methods report that they cannot
            return None
        # For some methods PEFT drops the trained parameters.
        pairs = zip(answers(network), answers(merged), strict=True)
        same = all(torch.allclose(one, other, rtol=1e-2, atol=1e-3) for one, other in pairs)
        return merged if same else None


def _save_adapter(network: Any, model: Model, folder: Path) -> None:
    # The adapter names its base.
    network.peft_config["default"].base_model_name_or_path = model.name
    network.peft_config["default"].revision = model.commit
    # The embeddings are the pretrained ones; else peft asks the hub whether they were resized.
    network.save_pretrained(folder / ADAPTER, save_embedding_layers=False)
    (folder / ADAPTER / "README.md").unlink(missing_ok=True)  # PEFT's empty form


def _save_settings(
    network: Any, tokenizer: Any, model: Model, base: str, task: Task, folder: Path
) -> str:
    """Write what an adapter needs besides its base; return Python lines that load both."""
    plain = network.get_base_model()
    plain.config.save_pretrained(folder)
    writes_texts = plain.can_generate()
    if writes_texts:
        plain.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    other_head = model.head_note(task.auto_class, {"num_labels": plain.config.num_labels})
    names = () if writes_texts else _answers_for_virtual_tokens(network)
    cut = "".join(f"    output.{name} = output.{name}[:, {{num}}:]\n" for name in names)
    num_virtual = getattr(network.peft_config["default"], "num_virtual_tokens", 0)
    return _LOAD_ADAPTER.format(
        auto=auto_class_of(task.auto_class, plain.config.to_dict()),
        resized=", ignore_mismatched_sizes=True" if other_head else "",
        base=base,
        use=task.usage_lines(),
        imported=", GenerationConfig" if writes_texts else "",
        writing=_LOAD_WRITING if writes_texts else "",
        cut=_CUT.format(num=num_virtual, lines=cut.format(num=num_virtual)) if cut else "",
    )


def cut_answers(network: Any) -> None:
    """Restrict a PEFT network's outputs to the text's own tokens, in place."""
    if names := _answers_for_virtual_tokens(network):
        num_tokens = network.peft_config["default"].num_virtual_tokens
        network.register_forward_hook(partial(_cut, names=names, num_tokens=num_tokens))


def _answers_for_virtual_tokens(network: Any) -> tuple[str, ...]:
    """Return the names of those outputs of a PEFT network that begin with its virtual tokens'."""
    config = network.peft_config["default"]
    # A prefix consists of keys and values only, so it has no outputs.
    if not config.is_prompt_learning or config.peft_type in ("PREFIX_TUNING", "CARTRIDGE"):
        return ()
    return _EACH_TOKEN.get(config.task_type, ())


_EACH_TOKEN = {
    "TOKEN_CLS": ("logits",),
    "QUESTION_ANS": ("start_logits", "end_logits"),
    "CAUSAL_LM": ("logits",),
    "FEATURE_EXTRACTION": ("last_hidden_state",),
}
"""The outputs that have a value for each token, by PEFT's name for a network's task."""


def _cut(
    network: nn.Module, inputs: Any, output: Any, names: Sequence[str], num_tokens: int
) -> None:
    if getattr(network, "_adapters_disabled", False):  # then there are no virtual tokens
        return
    for name in names:
        if name in output:
            output[name] = output[name][:, num_tokens:]


def _causes(error: BaseException) -> Iterator[BaseException]:
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


def config_class(peft_type: str) -> Any:
    """Return the configuration class of a PEFT method."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return PEFT_TYPE_TO_CONFIG_MAPPING[peft_type]


def chosen_targets(network: nn.Module, targets: str) -> str | list[str]:
    """Return PEFT's value for the linear layers that `targets` names.

    Args:
        network: The network.
        targets: `all-linear`, or names separated by spaces or commas.

    Raises:
        ConfigError: The network has no linear layer with one of the names.

    """
    if targets == ALL_LINEAR:
        return targets
    names = [name for name, _ in linear_layers(network)]
    chosen = targets.replace(",", " ").split()
    for target in chosen:
        if not any(f".{name}".endswith(f".{target}") for name in names):
            rule = "must be all-linear or names of the network's linear layers"
            last = {name.rpartition(".")[2] for name in names}
            raise ConfigError(Problem("strategy.targets", rule, target, did_you_mean(target, last)))
    return chosen


def _base_of(folder: Path) -> str:
    """Return the base of an adapter: the folder beside it, or the folder or hub name it names."""
    based_on = ModelFolder(folder).based_on()
    return str(folder / BASE) if based_on is None else based_on[0]


def _unwrapped(network: Any) -> Any:
    """Replace PEFT's wrapper of the head by the trained head; some methods leave the wrapper."""
    from peft.utils import ModulesToSaveWrapper

    for name, module in list(network.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            network.set_submodule(name, module.modules_to_save["default"])
    return network


def answers(network: Any) -> tuple[Tensor, ...]:
    """Return the network's outputs for a text of three tokens."""
    import torch

    config = network.config
    # BART reads its output at the end tokens, of which every text must have the same number.
    end = getattr(config, "eos_token_id", None)
    end = end if isinstance(end, int) else 0
    ids_BT = torch.full((1, 3), end, device=next(network.parameters()).device)
    inputs = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    if config.is_encoder_decoder and writes(base):
        inputs["decoder_input_ids"] = ids_BT
    with torch.inference_mode():
        output = network.eval()(**inputs)
    return tuple(output[name] for name in _ANSWERS if name in output)


_ANSWERS = ("logits", "start_logits", "end_logits", "last_hidden_state")

_LOAD_WRITING = 'base.generation_config = GenerationConfig.from_pretrained(".")\n'
_LOAD_ADAPTER = """\
from peft import PeftModel
from transformers import {auto}, AutoConfig, AutoTokenizer{imported}

base = {auto}.from_pretrained({base!r}, config=AutoConfig.from_pretrained("."){resized})
{writing}model = PeftModel.from_pretrained(base, "adapter")
tokenizer = AutoTokenizer.from_pretrained(".")
{cut}{use}"""
_CUT = """
def cut(model, inputs, output):  # the outputs for {num} virtual tokens come first
{lines}
model.register_forward_hook(cut)
"""
