"""Networks that classify with a prompt; their pretrained parameters do not change.

Each returns `logits_BC` of the labels' words minus `bias`, the logits of a content-free prompt
(0 unless calibrated; Zhao et al. 2021, arXiv:2102.09690).

Shapes: B batch, T tokens, W tokens of a word, V vocabulary, D width, C classes, S shots.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad
from transformers.modeling_outputs import SequenceClassifierOutput

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.position import num_positions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# The maximum length of all-MiniLM-L6-v2 as published.
SHOT_TOKENS = 256


class Prompted(nn.Module):
    """A pretrained network with the words of its labels."""

    bias: Tensor

    def __init__(
        self, backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.labels = tuple(labels)
        self.register_buffer("bias", torch.zeros(len(labels)))

    def forward(self, **inputs: Tensor) -> SequenceClassifierOutput:
        logits: Any = self.scores(**inputs) - self.bias
        return SequenceClassifierOutput(logits=logits)

    @abstractmethod
    def scores(self, **inputs: Tensor) -> Tensor:
        """Return the uncalibrated logits_BC, in float32."""

    def calibrate(self, prompt: str) -> None:
        """Subtract the logits of this content-free prompt from now on."""
        with torch.inference_mode():
            inputs = self.tokenizer([prompt], truncation=True, max_length=512, return_tensors="pt")
            bias_C = self.scores(**inputs)[0]
        self.bias = bias_C.clone()


class Similarity(Prompted):
    """logits_BC = cos(embedding of the text, embedding of the class) / temperature.

    A text's embedding is the normalized mean over the tokens that are not padding (Reimers and
    Gurevych 2019, arXiv:1908.10084). A class's embedding is the normalized sum of its description's
    embedding times `weight` and its shots' embeddings (a prototype: Snell et al. 2017,
    arXiv:1703.05175).
    """

    classes: Tensor
    temperature = 1.0

    def scores(self, **inputs: Tensor) -> Tensor:
        # No matrix product: in mixed precision it would round cosines to two digits.
        cosines_BC = (self._embed(inputs).unsqueeze(1) * self.classes).sum(dim=-1)
        return cosines_BC / self.temperature

    def describe(
        self,
        descriptions: Sequence[str],
        shots: Sequence[Sequence[Sequence[str]]],
        weight: float,
        temperature: float,
    ) -> None:
        """Embed each class from its description and its shots, given as (texts, pairs)."""
        classes = []
        for text, texts in zip(descriptions, shots, strict=True):
            class_D = weight * self._encode([text])[0]
            if texts[0]:
                class_D = class_D + self._encode(*texts).sum(dim=0)
            classes.append(class_D)
        self.register_buffer("classes", normalize(torch.stack(classes), dim=1))
        self.temperature = temperature

    def _encode(self, *texts: Sequence[str]) -> Tensor:
        given = [list(each) for each in texts if each]
        inputs = self.tokenizer(
            *given, truncation=True, max_length=SHOT_TOKENS, padding=True, return_tensors="pt"
        )
        with torch.no_grad():
            return self._embed(inputs)

    def _embed(self, inputs: Any) -> Tensor:
        hidden_BTD = self.backbone(**inputs).last_hidden_state
        mask_BT1 = inputs["attention_mask"].unsqueeze(-1).to(hidden_BTD.dtype)
        return normalize((hidden_BTD * mask_BT1).sum(dim=1).float(), dim=1)


class Mask(Prompted):
    """logits_BC = the masked-word head's logit for the word of each class at the mask.

    Paper: Schick and Schütze 2021, arXiv:2001.07676 (the word of a class is v(l)).
    """

    word_ids: Tensor

    def scores(self, **inputs: Tensor) -> Tensor:
        logits_BTV: Tensor = self.backbone(**inputs).logits
        is_mask_BT = inputs["input_ids"] == self.tokenizer.mask_token_id
        # The last mask: the template's label comes after the texts, which may contain masks.
        num_tokens = is_mask_BT.shape[1]
        at_B = num_tokens - 1 - is_mask_BT.flip(dims=(1,)).int().argmax(dim=1)
        logits_BV = logits_BTV[torch.arange(len(at_B), device=at_B.device), at_B]
        return logits_BV[:, self.word_ids].float()

    def name(self, words: Sequence[str]) -> None:
        """Set the classes' words; raise ConfigError if one is not exactly one token."""
        tokens = [tokens_of(word, self.tokenizer) for word in words]
        unknown = [[self.tokenizer.unk_token_id], []]
        problems = [
            Problem(
                f"strategy.label_words.{label}",
                "must be one token of the model",
                Verbatim(
                    f"{word!r}, which is {len(ids)} tokens" if ids not in unknown else f"{word!r}"
                ),
                "Choose a shorter or more common word.",
            )
            for label, word, ids in zip(self.labels, words, tokens, strict=True)
            if len(ids) != 1 or ids in unknown
        ]
        if problems:
            raise ConfigError(problems)
        self.register_buffer("word_ids", torch.tensor(tokens).flatten())


class Causal(Prompted):
    """logits_BC = log p(word of the class | prompt), the sum over the word's tokens.

    Paper: Brown et al. 2020, arXiv:2005.14165. Cost: one forward pass if every word is one
    token, otherwise one per distinct prefix, i.e. a word without its last token.
    """

    words: tuple[tuple[int, ...], ...] = ()

    def scores(self, **inputs: Tensor) -> Tensor:
        ids_BT, lengths_B = _from_the_left(inputs["input_ids"], inputs["attention_mask"])
        most = num_positions(self.backbone.config.to_dict())
        if most is not None:
            longest = max(map(len, self.words))
            ids_BT, lengths_B = _last(ids_BT, lengths_B, most + 1 - longest)
        steps: dict[tuple[int, ...], Tensor] = {}
        scores = []
        for word in self.words:
            prefix = word[:-1]
            if prefix not in steps:
                steps[prefix] = self._log_probabilities(ids_BT, lengths_B, prefix)
            places = torch.arange(len(word)), torch.tensor(word)
            scores.append(steps[prefix][:, *places].sum(dim=1))
        return torch.stack(scores, dim=1)

    def name(self, words: Sequence[str]) -> None:
        """Set the classes' words."""
        self.words = tuple(tuple(tokens_of(word, self.tokenizer)) for word in words)

    def _log_probabilities(
        self, ids_BT: Tensor, lengths_B: Tensor, prefix: tuple[int, ...]
    ) -> Tensor:
        """Return log p(next token) after the prompt and after each token of `prefix` behind it."""
        num_rows, num_tokens = ids_BT.shape
        device = ids_BT.device
        at_BW = lengths_B[:, None] + torch.arange(len(prefix), device=device)
        ids_BT = pad(ids_BT, (0, len(prefix)))
        ids_BT.scatter_(1, at_BW, torch.tensor(prefix, device=device).long().expand(num_rows, -1))
        width = num_tokens + len(prefix)
        mask_BT = torch.arange(width, device=device) < (lengths_B + len(prefix))[:, None]
        logits_BTV: Tensor = self.backbone(input_ids=ids_BT, attention_mask=mask_BT.long()).logits
        read_BW = lengths_B[:, None] - 1 + torch.arange(len(prefix) + 1, device=device)
        logits_BWV = logits_BTV[torch.arange(num_rows, device=device)[:, None], read_BW]
        return logits_BWV.float().log_softmax(dim=-1)


def tokens_of(word: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens of a word that follows another."""
    ids: list[int] = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    return ids


def _last(ids_BT: Tensor, lengths_B: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the last `most` tokens of each prompt; the question is at its end."""
    if ids_BT.shape[1] <= most:
        return ids_BT, lengths_B
    start_B1 = (lengths_B - most).clamp(min=0)[:, None]
    return ids_BT.gather(1, start_B1 + torch.arange(most, device=ids_BT.device)), lengths_B.clamp(
        max=most
    )


def _from_the_left(ids_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens with all padding after them, and the number of tokens per row."""
    order_BT = (mask_BT == 0).int().argsort(dim=1, stable=True)
    return ids_BT.gather(1, order_BT), mask_BT.sum(dim=1)
