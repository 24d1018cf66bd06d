"""QLoRA, with bitsandbytes' kernels for the CPU; what is missing is reported in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError
from lightning_modules.export.predictor import load_trained
from lightning_modules.machine.hardware import Device, Hardware, Precision
from lightning_modules.model.quantized import is_4bit, quantized_layers
from lightning_modules.model.state import count_parameters
from lightning_modules.network import build_network
from lightning_modules.outcome import Ending
from lightning_modules.run import Run
from lightning_modules.strategy.full import Full
from lightning_modules.strategy.qlora import Qlora
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.lightning_modules.model.test_decoder import config_of, write_tokenizer
from tests.lightning_modules.model.test_hub import write_bert, write_modernbert
from tests.training import train
from tests.vllm import check_adapter, check_model

LABELS = ("negative", "positive")
needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="needs bitsandbytes"
)


def check(*words: str) -> str:
    run = build_run(compose("train", ["strategy=qlora", *words]).tree)
    with pytest.raises(ConfigError) as raised:
        run.strategy.check(run.model, run.task)
    return str(raised.value)


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_a_missing_package_is_reported() -> None:
    assert check("model=minilm") == (
        "strategy: strategy=qlora needs bitsandbytes, got no such package. "
        "Run pip install bitsandbytes, or set strategy=lora."
    )


def test_a_model_without_pretrained_weights_is_refused() -> None:
    assert check("model=tiny").startswith("model: strategy=qlora needs a pretrained model, got")


def test_a_pair_of_encoders_is_refused() -> None:
    line = check("model=minilm", "task=summarization")
    assert line.startswith("model: strategy=qlora needs an encoder-decoder for this task, got sen")


def test_initializations_from_the_weights_are_refused() -> None:
    line = check("model=minilm", "strategy.init=pissa")
    assert line.startswith("strategy.init: must be default or gaussian with 4-bit weights, got ")


@pytest.mark.parametrize("storage", [torch.uint8, torch.float32])
def test_packed_weights_are_counted_like_in_peft(storage: torch.dtype) -> None:
    from peft import PeftModel

    from lightning_modules.model.state import count_parameters

    class Params4bit(torch.nn.Parameter):
        """32 4-bit values in 16 bytes, under the name that bitsandbytes uses."""

    network = torch.nn.Linear(2, 3)
    packed = torch.zeros(16 // storage.itemsize, 1, dtype=storage)
    network.frozen = Params4bit(packed, requires_grad=False)
    assert count_parameters(network) == (2 * 3 + 3, 2 * 3 + 3 + 32)
    pefts: Any = PeftModel.get_nb_trainable_parameters
    assert pefts(network) == count_parameters(network)


ENCODERS = {"bert": write_bert, "modernbert": write_modernbert}
DECODERS = ("gpt2", "llama", "qwen3")
each_model = pytest.mark.parametrize("name", [*ENCODERS, *DECODERS])


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        auto: Any = transformers.AutoModelForMaskedLM
        if name in ENCODERS:
            config = ENCODERS[name](folder)
        else:
            config, auto = (
                config_of(name, write_tokenizer(name, folder)),
                transformers.AutoModelForCausalLM,
            )
        auto.from_config(config).to(torch.bfloat16).save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def run_of(folder_of: Callable[[str], Path], learnable: Path) -> Callable[..., Run]:
    def make(name: str, *words: str) -> Run:
        data = ("data=files", f"data.train={learnable}", "data.max_length=24", "data.batch_size=8")
        short = ("trainer.max_steps=3", "trainer.device=cpu", "trainer.precision=fp32")
        model = ("model=hub", f"model.path={folder_of(name)}", "strategy=qlora", "logger=none")
        task = ("task=generation", "task.label=label", "task.num_generated=2")
        writes = (*task, "task.max_new_tokens=4") if name in DECODERS else ()
        return build_run(compose("train", [*model, *data, *short, *writes, *words]).tree)

    return make


@needs_bitsandbytes
@each_model
@pytest.mark.thorough
def test_adapters_learn_on_4_bit_weights_and_are_exported_with_them(
    run_of: Callable[..., Run], folder_of: Callable[[str], Path], here: Path, name: str
) -> None:
    run = run_of(name, "strategy.lr=1e-2")
    run.strategy.check(run.model, run.task)
    outcome = train(run, here / "run")
    assert outcome.ending is Ending.finished and outcome.best is not None, outcome.reason
    labels = () if name in DECODERS else LABELS
    ours: Any = load_trained(run, here / "run", labels).network.eval()
    assert any(is_4bit(module) for module in ours.modules())
    trained = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    export(trained, here / "best")
    assert check_model(here / "best")["dtype"] == "bfloat16"
    auto = getattr(transformers, run.task.auto_class)
    plain = auto.from_pretrained(here / "best", dtype=torch.float32).eval()
    assert type(plain) is type(ours.get_base_model())
    ids = torch.randint(5, 300, (2, 20), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        one, other = (each(ids, attention_mask=mask).logits for each in (ours, plain))
    torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)
    if name in DECODERS:
        base = auto.from_pretrained(folder_of(name))
        check_adapter(here / "best/adapter", base)


@needs_bitsandbytes
@each_model
def test_head_and_embeddings_are_not_quantized(run_of: Callable[..., Run], name: str) -> None:
    run = run_of(name)
    labels = () if name in DECODERS else LABELS
    network: Any = build_network(run, labels, Cache())
    base = network.get_base_model()
    backbone = getattr(base, base.base_model_prefix)
    inside = {id(module) for module in backbone.modules()}
    four = quantized_layers(network)
    assert four and all(id(module) in inside for module in four.values())
    assert not any("pooler" in layer for layer in four)
    lora = build_network(replace(run, strategy=_lora(run)), labels, Cache())
    assert count_parameters(network) == count_parameters(lora)


def _lora(run: Run) -> Any:
    assert isinstance(run.strategy, Qlora)
    words = ("model=tiny", "strategy=lora", f"strategy.rank={run.strategy.rank}")
    return build_run(compose("train", words).tree).strategy


@needs_bitsandbytes
def test_three_trials_keep_the_4_bit_weights_once(run_of: Callable[..., Run]) -> None:
    run, kept = run_of("llama"), Cache()
    networks = [build_network(replace(run, seed=seed), (), kept) for seed in range(3)]
    sizes = [{each.place: each.num_bytes for each in _packed(network)} for network in networks]
    assert sizes[0] == sizes[1] == sizes[2]
    num_values = sum(
        layer.in_features * layer.out_features for layer in quantized_layers(networks[0]).values()
    )
    # Half a byte a value, and the scales: 1 byte per 64 values, and small tables.
    packed = [each for each in _packed(networks[0]) if each.is_weight]
    assert sum(each.num_bytes for each in packed) == num_values // 2
    scales = [each for each in _packed(networks[0]) if each.name == "absmax"]
    assert sum(each.num_bytes for each in scales) == num_values // 64


@needs_bitsandbytes
def test_training_leaves_the_shared_weights_as_they_are(
    run_of: Callable[..., Run], here: Path
) -> None:
    run, kept = run_of("llama", "strategy.lr=1e-2"), Cache()
    outcomes = [train(run, here / str(number), cache=kept) for number in range(2)]
    again = train(run, here / "alone")
    losses = [outcome.best and outcome.best.validation_loss for outcome in (*outcomes, again)]
    assert losses[0] == losses[1] == losses[2]


@dataclass(frozen=True)
class Packed:
    """A tensor of a quantized layer."""

    name: str
    place: int
    num_bytes: int

    @property
    def is_weight(self) -> bool:
        return self.name == "weight"


def _packed(network: Any) -> Iterator[Packed]:
    for layer in quantized_layers(network).values():
        state = layer.weight.quant_state
        assert layer.quant_state is state  # the layer refers to the same scales
        tensors = {
            "weight": layer.weight.data,
            "absmax": state.absmax,
            "code": state.code,
            "offset": state.offset,
            "absmax2": state.state2.absmax,
            "code2": state.state2.code,
        }
        for name, tensor in tensors.items():
            yield Packed(name, tensor.data_ptr(), tensor.nbytes)


def test_each_rank_loads_on_its_own_device(run_of: Callable[..., Run]) -> None:
    """Without GPUs: a strategy that notes where it was told to load."""
    places: list[str] = []

    class Noting(Full):
        loads_on_device = True

        def load(self, *arguments: Any) -> torch.nn.Module:
            places.append(str(torch.get_default_device()))
            return torch.nn.Linear(2, 2, device="cpu")

        keeps_frozen = True

    run = run_of("bert")
    strategy = Noting(lr=1.0, lr_min=0.5, lr_max=2.0)
    hardware = Hardware(Device.cuda, Precision.fp32, 1, "", num_devices=2)
    for rank in (0, 1):
        build_network(replace(run, strategy=strategy), LABELS, Cache(), None, hardware, rank)
    assert places == ["cuda:0", "cuda:1"]
