from __future__ import annotations

import pytest
import yaml

from lightning_modules.model.kind import Kind, kind_of
from search.config import CONF_DIR
from tests.models import models_of


def test_every_decoder_has_a_file_in_conf() -> None:
    there = {path.stem for path in (CONF_DIR / "model").glob("*.yaml")}
    assert set(models_of(Kind.decoder)) <= there


@pytest.mark.parametrize("name", models_of(Kind.decoder))
def test_a_decoder_has_a_hub_name(name: str) -> None:
    values = yaml.safe_load((CONF_DIR / f"model/{name}.yaml").read_text(encoding="utf-8"))
    assert values["_target_"] == "lightning_modules.model.hub.Hub"
    assert values["path"].count("/") == 1


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, Kind.decoder),
        ({"architectures": ["Gemma3ForCausalLM"]}, Kind.decoder),
        ({"architectures": ["BertForMaskedLM"]}, Kind.encoder),
        ({"is_encoder_decoder": True}, Kind.encoder_decoder),
    ],
)
def test_the_kind_is_read_from_the_configuration(config: dict[str, object], kind: Kind) -> None:
    assert kind_of(config) is kind
