"""Models in transformers' format: a folder with a configuration, a tokenizer and weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lightning_modules.error import ConfigError, Problem
from lightning_modules.model.attention import Attention, built, chosen, eager_note, has_sdpa
from lightning_modules.model.base import Model
from lightning_modules.model.dtype import Dtype, dtype_of, file_dtype_of
from lightning_modules.model.end import keep_ends
from lightning_modules.model.files.embedder import MODULES, UNKNOWN, Embedder, read_embedder
from lightning_modules.model.files.fault import loading
from lightning_modules.model.files.folder import ModelFolder
from lightning_modules.model.files.head import head_note, match_head, trained_labels
from lightning_modules.model.files.trust import is_code_trusted
from lightning_modules.model.kind import Kind, kind_of
from lightning_modules.model.light import LightTokenizer, read_light
from lightning_modules.model.multimodal import (
    PROCESSOR_FILES,
    auto_class_of,
    freeze_others,
    wraps_decoder,
)
from lightning_modules.model.pair import build_pair, check_decoder, freeze_pooler, is_pair
from lightning_modules.model.plain import read_plainly
from lightning_modules.model.position import num_positions
from lightning_modules.model.role import check_roles, name_roles, text_config
from lightning_modules.model.size import Size, size_of
from lightning_modules.model.vocabulary import check_embeddings

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from lightning_modules.machine.hardware import Hardware
    from lightning_modules.rows.corpus import Row


@dataclass(frozen=True, kw_only=True)
class Pretrained(Model):
    """A model in transformers' format, in a folder or on the hub.

    Attributes:
        attention: `sdpa` (torch's fused attention, and `eager` for architectures without it) or
            `eager` (slower), or `auto`: `eager` for short texts in bf16 on a CPU, where it is
            faster, else `sdpa`.
        dtype: How frozen weights are held: `auto` (in bf16 if the model's file has them in bf16 and
            the device computes in bf16, else in fp32), `fp32` or `bf16`. Trained weights are in
            fp32, except under `strategy=full` with `bf16`, where all are in bf16.

    """

    draws_weights: ClassVar[bool] = False

    attention: Attention
    dtype: Dtype

    @abstractmethod
    def location(self) -> str:
        """Return a local folder or a hub name; raise ConfigError if there is neither."""

    def files(self, *, weights: bool) -> str:
        """Return the folder to load from, after downloading what is missing.

        Args:
            weights: Whether the weights are needed, too.

        """
        return self.location()

    @property
    def where(self) -> str:
        """The config key in messages about its files."""
        return "model"

    def folder(self, *, weights: bool) -> ModelFolder:
        """Return the folder to load from; arguments as of `files`."""
        return ModelFolder(Path(self.files(weights=weights)), self.where, self.name)

    def known_kind(self) -> Kind | None:
        config = self._config()
        return None if config is None else kind_of(config)

    def known_size(self) -> Size | None:
        config = self._config()
        return None if config is None else size_of(config)

    def known_dtype(self) -> Dtype | None:
        config = self._config()
        return None if config is None else dtype_of(config)

    def file_dtype(self) -> str | None:
        return file_dtype_of(self._config() or {})

    def other_files(self) -> Iterator[Path]:
        if wraps_decoder(self._config() or {}):
            folder = Path(self.files(weights=False))
            yield from (p for name in PROCESSOR_FILES if (p := folder / name).is_file())

    @property
    def in_bf16(self) -> bool:
        return self.dtype is Dtype.bf16

    def settled(self, *, computes_bf16: bool) -> Self:
        size = self.known_size() if self.in_bf16 and not computes_bf16 else None
        if size is not None and size.experts:
            rule = "must be auto or fp32 for a mixture of experts that computes in fp32"
            fix = "Set model.dtype=auto, or trainer.precision=bf16."
            raise ConfigError(Problem("model.dtype", rule, "bf16", fix))
        if self.dtype is not Dtype.auto or not computes_bf16:
            return self
        return replace(self, dtype=Dtype.bf16) if self.known_dtype() is Dtype.bf16 else self

    def attending(self, hardware: Hardware, max_length: int) -> Self:
        return replace(self, attention=chosen(self.attention, hardware, max_length))

    @property
    def fills_masks(self) -> bool:
        names = (self._config() or {}).get("architectures") or ()
        return any(name.endswith("ForMaskedLM") for name in names)

    @property
    def max_length(self) -> int | None:
        return num_positions(self._config() or {})

    def check(self) -> None:
        self.location()

    def check_head(self, auto_class: str) -> None:
        if is_pair(auto_class, self.known_kind()):
            check_decoder(str((self._config() or {}).get("model_type")))

    def head_note(self, auto_class: str, changes: Mapping[str, Any]) -> str:
        before = trained_labels(self._config() or {}, auto_class)
        return "" if before is None else head_note(self.name, before, changes)

    def notes(self) -> Iterator[str]:
        architecture = (self._config() or {}).get("model_type")
        if self.attention is Attention.sdpa and has_sdpa(str(architecture)) is False:
            yield eager_note(str(architecture))

    def embedder(self) -> Embedder | None:
        snapshot, folder = self.snapshot(), Path(self.location())
        with self._loading():
            if snapshot is not None:
                # Other libraries download a model without the file that would say it.
                has_list = snapshot.files is not None or (snapshot.folder / MODULES).is_file()
                return read_embedder(snapshot.small_file) if has_list else UNKNOWN
            return read_embedder(lambda name: path if (path := folder / name).is_file() else None)

    def light_tokenizer(self) -> LightTokenizer | None:
        path = self._config_path()
        return None if path is None else read_light(path.parent, self._config())

    def check_tokens(self, tokenizer: LightTokenizer, rows: Sequence[Row]) -> None:
        check_roles(tokenizer, self.name)
        check_embeddings(tokenizer, self._config() or {}, rows, self.name)

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        tokenizer = self.folder(weights=False).load_tokenizer()
        for _ in name_roles(tokenizer, self._config() or {}):
            pass  # `light_tokenizer` says it
        check_roles(tokenizer, self.name)
        return read_plainly(tokenizer)

    def load_network(
        self, auto_class: str, *, quantization: Any = None, **config: Any
    ) -> PreTrainedModel:
        """Return the network in float32, or with its matrices in bfloat16 if `in_bf16`.

        `quantization` is one of transformers' quantization configurations. If it is set, the
        linear layers are quantized, and the network is on torch's default device.
        """
        import torch

        quantized = {}
        if quantization is not None:
            device = str(torch.get_default_device())
            quantized = {"quantization_config": quantization, "device_map": {"": device}}
        if is_pair(auto_class, self.known_kind()):
            return build_pair(self.load_network, self.load_tokenizer, config)
        random_state = torch.get_rng_state()
        with self._loading():
            architecture = self._architecture(config)
            network, drawn = self.folder(weights=True).load_network(
                auto_class,
                architecture,
                self.attention,
                new_head=True,
                **quantized,
                # By default transformers 5 uses the checkpoint's dtype, which may be float16.
                dtype=torch.bfloat16 if self.in_bf16 else torch.float32,
            )
        before = trained_labels(self._config() or {}, auto_class)
        labels = list(config.get("id2label", {}).values())
        if labels and len(before or labels) == len(labels):
            with self._loading():
                drawn |= match_head(network, before, labels, drawn)
        network.drawn = drawn
        if self.in_bf16:
            from lightning_modules.model.held import draw_in_fp32, hold

            draw_in_fp32(network, network.drawn, random_state)
            hold(network)
        freeze_pooler(network)
        freeze_others(network)
        if network.can_generate():
            keep_ends(network, self._own_tokenizer())
        return self._with_padding(network)

    def new_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        import torch
        import transformers

        if is_pair(auto_class, self.known_kind()):
            return build_pair(self.new_network, self.load_tokenizer, config)
        with self._loading():
            architecture = self._architecture(config)
            auto_class = auto_class_of(auto_class, architecture.to_dict())
            build = getattr(transformers, auto_class).from_config
            settings = {"trust_remote_code": is_code_trusted(), "dtype": torch.float32}
            network: PreTrainedModel = built(
                lambda attention: build(architecture, **settings, **attention), self.attention
            )
        freeze_pooler(network)
        freeze_others(network)
        return self._with_padding(network)

    def _own_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Return the tokenizer; None if there is none beside the weights, e.g. of an export."""
        try:
            return self.load_tokenizer()
        except ConfigError:
            return None

    def _with_padding(self, network: PreTrainedModel) -> PreTrainedModel:
        """Set the padding token of batches, by which a network finds a text's last token."""
        config = network.config
        text = text_config(config)
        padding = getattr(text, "pad_token_id", None)
        if padding is None:  # GPT-like models have none
            tokenizer, ends = self._own_tokenizer(), getattr(text, "eos_token_id", None)
            if tokenizer is not None:
                padding = tokenizer.pad_token_id
            else:  # the run trains a tokenizer
                padding = ends[0] if isinstance(ends, list) else ends
            text.pad_token_id = padding
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = padding
        return network

    def _architecture(self, changes: Mapping[str, Any]) -> PreTrainedConfig:
        return self.folder(weights=False).load_config(**changes)

    def _loading(self) -> AbstractContextManager[None]:
        """Turn what transformers raises for files that it cannot use into a ConfigError."""
        return loading(self.where, self.name)

    def _config(self) -> dict[str, Any] | None:
        """Return the checked content of config.json if it is already on this machine."""
        path = self._config_path()
        if path is None or not path.is_file():
            return None
        return ModelFolder(path.parent, self.where, self.name).config()

    def _revision(self) -> str | None:
        """Return which revision of the hub is wanted; None is the newest commit."""
        return None

    def _config_path(self) -> Path | None:
        """Return the path of a local config.json, in the folder or in the hub's cache."""
        location = Path(self.location())
        if location.is_dir():
            return location / "config.json"
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(
                self.location(), "config.json", revision=self._revision()
            )
        except HFValidationError:  # `check` reports it
            return None
        return Path(cached) if isinstance(cached, str) else None
