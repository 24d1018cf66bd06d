"""The code in the model card of an exported prompt, which uses only transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_modules.model.prompted import Prompted


def usage_lines(network: Prompted, prompt: str, base: str, folder: Path) -> str:
    """Return Python lines that prompt the network once; write the files they read to `folder`.

    Args:
        network: The network, with the words of its labels.
        prompt: The prompt for "Your text."
        base: The pretrained model's name or folder.
        folder: The export's folder.

    """
    from safetensors.torch import save_file

    from lightning_modules.model.prompted import Causal, Mask, Similarity

    bias = [round(float(value), 6) for value in network.bias.tolist()]
    common = {"base": base, "prompt": prompt, "bias": bias}
    if isinstance(network, Similarity):
        # Scaled like the cosines.
        save_file(
            {"classes": network.classes / network.temperature}, folder / "classes.safetensors"
        )
        return _SIMILARITY.format(**common)
    if isinstance(network, Causal):
        return _CAUSAL.format(**common, words=[list(word) for word in network.words])
    assert isinstance(network, Mask)
    return _MASK.format(**common, words=network.word_ids.tolist())


_HEADER = """\
import json, torch
from transformers import {auto_class}, AutoTokenizer

model, tokenizer = {auto_class}.from_pretrained({{base!r}}), AutoTokenizer.from_pretrained(".")
labels, bias = json.load(open("finesweep.json"))["labels"], torch.tensor({{bias}})
"""

_SIMILARITY = (
    _HEADER.format(auto_class="AutoModel")
    + """\
from safetensors.torch import load_file

inputs = tokenizer(["Your text."], truncation=True, return_tensors="pt")
mask = inputs["attention_mask"].unsqueeze(-1)
features = (model(**inputs).last_hidden_state * mask).sum(1)
features = torch.nn.functional.normalize(features, dim=1)
logits = (features @ load_file("classes.safetensors")["classes"].T)[0] - bias
print(labels[logits.argmax().item()])
"""
)

_MASK = (
    _HEADER.format(auto_class="AutoModelForMaskedLM")
    + """\
inputs = tokenizer({prompt!r}, truncation=True, return_tensors="pt")
at = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero()[-1].item()
logits = model(**inputs).logits[0, at, {words}] - bias
print(labels[logits.argmax().item()])
"""
)

_CAUSAL = (
    _HEADER.format(auto_class="AutoModelForCausalLM")
    + """\
prompt = tokenizer({prompt!r}, truncation=True, return_tensors="pt")["input_ids"]

def score(word):
    steps = model(torch.cat([prompt, torch.tensor([word])], dim=1)).logits.log_softmax(dim=-1)
    return steps[0, range(-len(word) - 1, -1), word].sum()

logits = torch.stack([score(word) for word in {words}]) - bias
print(labels[logits.argmax().item()])
"""
)
