from __future__ import annotations

import pytest
import transformers
from transformers.models.auto import modeling_auto as auto

from lightning_modules.model.attention import has_sdpa

MAPPINGS = (
    auto.MODEL_MAPPING_NAMES,
    auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("bert", True), ("deberta-v2", False), ("qwen3", True), ("gemma3_text", None), ("no", None)],
)
def test_whether_attention_can_be_sdpa_is_known_without_an_import(
    architecture: str, expected: bool | None
) -> None:
    assert has_sdpa(architecture) is expected


@pytest.mark.thorough
def test_it_is_what_the_classes_of_transformers_say() -> None:
    texts = {kind for mapping in MAPPINGS[1:] for kind in mapping}
    wrong, num_known = [], 0
    for mapping in MAPPINGS:
        for architecture, names in mapping.items():
            found = has_sdpa(architecture) if architecture in texts else None
            if found is None:
                continue
            for name in [names] if isinstance(names, str) else names:
                num_known += 1
                if getattr(transformers, name)._supports_sdpa is not found:
                    wrong.append(name)
    assert not wrong and num_known > 300
