from __future__ import annotations

from typing import Any

import pytest
import torch

from lightning_modules.cache import Cache
from lightning_modules.data.reviews import Reviews
from lightning_modules.export.predictor import Predictor
from lightning_modules.network import build_network
from lightning_modules.run import Run
from search.config import build_run, compose
from tests.conftest import classification

TASK = classification()

LABELS = ("negative", "positive")


def minilm(*words: str) -> Run:
    return build_run(compose("train", ["model=minilm", "strategy=from_scratch", *words]).tree)


@pytest.fixture(scope="module")
def network() -> Any:
    return build_network(minilm(), LABELS, Cache())


def test_no_pretrained_tensor_is_used(network: Any) -> None:
    pretrained = minilm().model.load_network("AutoModel").state_dict()
    scratch = network.bert.state_dict()
    assert scratch.keys() == pretrained.keys()
    scratch.pop("pooler.dense.bias")  # 0 in both: MiniLM's pooler was never trained
    for name, tensor in scratch.items():
        # Values that are not random start at 0 or 1, and pretraining has changed them.
        assert not torch.equal(tensor, pretrained[name]), name
        assert tensor.shape == pretrained[name].shape


def test_weights_have_the_standard_deviation_of_new_bert_weights(network: Any) -> None:
    drawn = [p for p in network.bert.parameters() if p.dim() == 2]
    assert len(drawn) > 30
    assert all(0.019 < parameter.std().item() < 0.021 for parameter in drawn)


def test_untrained_scores_are_at_chance_level(network: Any) -> None:
    run = minilm()
    rows = Reviews(batch_size=16, max_length=128).load(TASK).splits["validation"][:64]
    predictor = Predictor(network, run.model.load_tokenizer(), run.task, LABELS, 128)
    scores = predictor.score(rows)
    assert scores["log_loss"] == pytest.approx(0.693, abs=0.02)
    assert 0.3 < scores["accuracy"] < 0.7


def test_the_weights_depend_on_the_seed(network: Any) -> None:
    other = build_network(minilm("seed=1"), LABELS, Cache())
    again = build_network(minilm(), LABELS, Cache())
    key = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(again.state_dict()[key], network.state_dict()[key])
    assert not torch.equal(other.state_dict()[key], network.state_dict()[key])


def test_dropout_equals_that_of_full_training(network: Any) -> None:
    rates = {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.1}
