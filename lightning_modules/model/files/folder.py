"""A folder with a model of transformers: the one way in which its files are loaded.

The same rules hold for a folder from the hub, an export and any other: only safetensors are read,
no kernel of the hub runs, no code of its own unless a person typed that (`trust`), nothing is
asked, and a file that is missing or damaged is named in one line. Training, `predict` and
`evaluate` all load through here.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.model.attention import Attention, built
from lightning_modules.model.files import adapter, tokenizer, weights
from lightning_modules.model.files.config import CONFIG, label_names, read_config
from lightning_modules.model.files.fault import Fault, loading
from lightning_modules.model.files.manifest import MANIFEST, check_sums, read_manifest
from lightning_modules.model.files.missing import check_complete, check_finite, outputs_of
from lightning_modules.model.files.text import check_file
from lightning_modules.model.files.trust import KEY, is_code_trusted
from lightning_modules.model.multimodal import auto_class_of

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_DISTRIBUTED = re.compile(r"shard-\d+-model-\d+-of-\d+\.safetensors")

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of each file of a folder: with the same ones it is not checked again.

One more entry has whether its code is trusted.
"""


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a model.

    Attributes:
        path: The folder.
        where: The config key in messages.
        name: What the model is called in messages; empty takes the folder.
        base: The folder of the pretrained model, for an adapter alone on one that is elsewhere.

    """

    path: Path
    where: str = "model"
    name: str = ""
    base: Path | None = None

    def config(self) -> dict[str, Any]:
        """Return the content of config.json; raise ConfigError if it cannot be used."""
        with self._reporting():
            return _config(self.path, _stamp(self.path))

    def check(self) -> None:
        """Raise ConfigError if the folder has no usable configuration, or names code."""
        self.config()

    def check_weights(self) -> None:
        """Raise ConfigError if the weights are missing, pickled, damaged or of other sizes."""
        if adapter.is_adapter(self.path):
            self._check_adapter()
            return
        with self._reporting():
            _check_weights(self.path, _stamp(self.path))

    def check_header(self, file: str) -> None:
        """Raise ConfigError if a file of safetensors is missing or damaged."""
        with self._reporting():
            weights.read_header(self.path, file)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise ConfigError if the configuration's head has other labels than these, if any."""
        config = self.config()
        with self._reporting():
            named = label_names(config)
            number = config.get("num_labels", len(config.get("id2label") or labels))
            got = ", ".join(named) if named is not None else f"{number} labels"
            if labels and (number != len(labels) or (named or list(labels)) != list(labels)):
                rule = f"must have the labels of {MANIFEST} as id2label ({', '.join(labels)})"
                raise Fault(CONFIG, rule, got, "Export the model again.")

    def check_sums(self) -> None:
        """Raise ConfigError if the folder is an export with a file that is not the exported one."""
        with self._reporting():
            if (self.path / MANIFEST).exists():
                check_sums(self.path, large=True)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of an export; raise ConfigError if it cannot be used."""
        with self._reporting():
            return read_manifest(self.path)

    def check_tokenizer(self) -> None:
        """Raise ConfigError if there is no usable tokenizer."""
        with self._reporting():
            _check_tokenizer(self.path, _stamp(self.path))

    def load_config(self, **changes: Any) -> PreTrainedConfig:
        """Return transformers' configuration with changes, e.g. `num_labels=3`."""
        from transformers import AutoConfig

        self.check()
        with self._reporting():
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                str(self.path), trust_remote_code=is_code_trusted(), **changes
            )
        return config

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer."""
        from transformers import AutoTokenizer

        if (self.path / CONFIG).exists():
            self.check()
        self.check_tokenizer()
        with self._reporting():
            loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                str(self.path), trust_remote_code=is_code_trusted()
            )
            if set(loaded.get_vocab()) <= set(loaded.all_special_tokens):
                # transformers 5 returns an empty tokenizer if it finds no files of one.
                fix = "Save it next to the weights: tokenizer.save_pretrained(folder)."
                raise Fault(tokenizer.TOKENIZER, "must have tokens", "an empty one", fix)
        return loaded

    def load_network(
        self,
        auto_class: str,
        config: PreTrainedConfig | None = None,
        attention: Attention | None = None,
        *,
        new_head: bool = False,
        **settings: Any,
    ) -> tuple[PreTrainedModel, frozenset[str]]:
        """Return the network, and the names of the weights that were drawn at random.

        Args:
            auto_class: A transformers Auto class, e.g. `AutoModelForSequenceClassification`.
            config: The configuration; None takes the one in the folder.
            attention: How attention is computed; None leaves it to transformers.
            new_head: Whether the configuration may have another number of labels than the head in
                the file, which gets a new output layer then.
            settings: More arguments of transformers' `from_pretrained`.

        Raises:
            ConfigError: The files cannot be used, or lack weights that no training leaves out.

        """
        import transformers

        self.check_weights()
        self.check_sums()
        if adapter.is_adapter(self.path):
            with self._merged() as merged:
                return merged.load_network(
                    auto_class, config, attention, new_head=new_head, **settings
                )
        architecture = self.load_config() if config is None else config
        architecture._attn_implementation = None  # what config.json names does not count
        with self._reporting():
            auto = getattr(transformers, auto_class_of(auto_class, architecture.to_dict()))
            load = partial(
                auto.from_pretrained,
                str(self.path),
                config=architecture,
                use_safetensors=True,
                trust_remote_code=is_code_trusted(),
                ignore_mismatched_sizes=True,  # reported below, by name
                output_loading_info=True,
                **settings,
            )
            if attention is None:
                network, report = load()
            else:
                network, report = built(lambda how: load(**how), attention)
            missing = frozenset(report["missing_keys"])
            resized = outputs_of(network, report["mismatched_keys"]) if new_head else frozenset()
            others = (each for each in report["mismatched_keys"] if each[0] not in resized)
            check_complete(network, missing, list(others))
            check_finite(network)
        return network, missing | resized

    def check_whole(self, missing: frozenset[str]) -> None:
        """Raise ConfigError if weights are missing, for a folder that must have all of them."""
        with self._reporting():
            for name in sorted(missing):
                more = f", and {len(missing) - 1} others" if len(missing) > 1 else ""
                rule = f"must have all weights, e.g. {name}{more}"
                raise Fault("model.safetensors", rule, "none", "Export the model again.")

    def adapter_config(self) -> dict[str, Any]:
        """Return the checked configuration of the adapter in the folder."""
        with self._reporting():
            return adapter.check_adapter(self.path)

    def based_on(self) -> tuple[str, str | None] | None:
        """Return folder or hub name, and commit, of the base that an adapter alone needs."""
        if not adapter.is_adapter(self.path) or (self.path / adapter.BASE).is_dir():
            return None
        values = ModelFolder(self.path / adapter.ADAPTER, self.where).adapter_config()
        with self._reporting():
            return adapter.base_of(values)

    def _base(self) -> ModelFolder:
        base = self.base or self.path / adapter.BASE
        return ModelFolder(base, self.where, f"the base of {self.name or self.path}")

    def _check_adapter(self) -> None:
        self.check()
        values = ModelFolder(self.path / adapter.ADAPTER, self.where).adapter_config()
        with self._reporting():
            adapter.check_merges(values)
        if self.base is not None or self.based_on() is None:
            self._base().check_weights()

    @contextmanager
    def _merged(self) -> Iterator[ModelFolder]:
        """Yield a folder with the weights of an adapter and its base in one."""
        from tempfile import TemporaryDirectory

        from peft.utils import ModulesToSaveWrapper

        files = ModelFolder(self.path / adapter.ADAPTER, self.where)
        auto_class = adapter.auto_class_of(files.adapter_config())
        plain, _ = self._base().load_network(auto_class, self.load_config(), new_head=True)
        adapted: Any = files.load_adapter(plain)
        with TemporaryDirectory() as folder, self._reporting():
            network = adapted.merge_and_unload()
            for name, module in list(network.named_modules()):
                if isinstance(module, ModulesToSaveWrapper):
                    network.set_submodule(name, module.modules_to_save["default"])
            network.save_pretrained(folder)
            yield ModelFolder(Path(folder), self.where, self.name or str(self.path))

    def load_adapter(self, network: Any) -> nn.Module:
        """Return the network with the adapter in the folder."""
        from peft import PeftModel

        self.adapter_config()
        with self._reporting(), warnings.catch_warnings():
            # The check says it in one line, and of the head's weights, too.
            warnings.filterwarnings("ignore", "Found missing adapter keys")
            adapted: nn.Module = PeftModel.from_pretrained(network, str(self.path))
            adapter.check_complete(self.path, adapted)
            check_finite(adapted, adapter.WEIGHTS)
        return adapted

    def _reporting(self) -> AbstractContextManager[None]:
        return loading(self.where, self.name or str(self.path))


def _stamp(folder: Path) -> Stamp:
    """Return the stamp of the folder's files; raise Fault if it cannot be read."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        found = [(entry.name, entry.path) for entry in entries if not entry.is_dir()]
    except OSError as error:
        raise Fault("The folder", "must be readable", str(error.strerror)) from None
    stats = [(name, Path(path).stat() if Path(path).exists() else None) for name, path in found]
    times = [(name, s.st_size, s.st_mtime_ns) if s else (name, 0, 0) for name, s in stats]
    return (*times, (KEY, int(is_code_trusted()), 0))


@lru_cache(maxsize=64)
def _config(folder: Path, stamp: Stamp) -> dict[str, Any]:
    config = read_config(folder)
    for name, _, _ in stamp:
        if name.endswith((".json", ".txt", ".safetensors", ".jinja", ".model")):
            check_file(folder / name, name)
        if _DISTRIBUTED.fullmatch(name):
            raise Fault(name, "must not be there", "weights of a distributed training")
        if name == adapter.CONFIG:
            fix = "Merge it with the weights, or remove it."
            raise Fault(name, "must not be beside config.json", "an adapter", fix)
    if (folder / MANIFEST).exists():
        check_sums(folder, large=False)
    if adapter.is_adapter(folder):  # the network with the adapter has a head, unlike its base
        kind = adapter.auto_class_of(adapter.check_adapter(folder / adapter.ADAPTER))
        config["architectures"] = [kind.removeprefix("Auto")]
    return config


@lru_cache(maxsize=64)
def _check_weights(folder: Path, stamp: Stamp) -> None:
    weights.check_weights(folder, _config(folder, stamp))


@lru_cache(maxsize=64)
def _check_tokenizer(folder: Path, stamp: Stamp) -> None:
    tokenizer.check_tokenizer(folder)
