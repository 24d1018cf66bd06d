"""What becomes of a head that was trained for other labels.

A row of the output layer belongs to a label by its name. The same names in another order get their
rows in that order. Other names, or another number of them, get a new output layer: a row of another
label would be a wrong start that nobody sees.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lightning_modules.model.files.config import CONFIG, label_names
from lightning_modules.model.files.fault import Fault

AUTO = "AutoModel"
MAX_SHOWN = 5
DEFAULT_LABELS = 2  # of transformers


def trained_labels(config: Mapping[str, Any], auto_class: str) -> list[str] | None:
    """Return the labels of the head that comes with a model; None if it has no such head.

    >>> bert = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a"}}
    >>> trained_labels(bert, "AutoModelForSequenceClassification")
    ['a']
    >>> trained_labels(bert, "AutoModelForTokenClassification") is None
    True
    """
    kind = auto_class.removeprefix(AUTO)
    names = config.get("architectures") or ()
    if not kind or not any(name.endswith(kind) for name in names):
        return None
    number = len(config.get("id2label") or ()) or config.get("num_labels", DEFAULT_LABELS)
    return label_names(config) or [f"LABEL_{label}" for label in range(number)]


def order_in(before: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """Return the row of each label in a head for the labels `before`; None if it needs a new one.

    >>> order_in(["bad", "good"], ["good", "bad"]), order_in(["bad", "good"], ["bad", "odd"])
    ([1, 0], None)
    """
    if sorted(before) != sorted(labels) or len(set(labels)) < len(labels):
        return None
    return [before.index(label) for label in labels]


def head_note(name: str, before: Sequence[str], changes: Mapping[str, Any]) -> str:
    """Return what becomes of a model's head, in a line; empty if it is trained on as it is.

    Args:
        name: The model's name.
        before: The labels of its head.
        changes: The changes that a task makes to the configuration, e.g. `num_labels`.

    """
    number, names = changes.get("num_labels"), changes.get("id2label")
    if number is not None and number != len(before):
        outputs = f"{number} {'output' if names is None else 'label'}{'s' * (number != 1)}"
        return f"new: {name} has one for {len(before)} labels, this task has {outputs}"
    if names is None:
        return ""
    labels = list(names.values())
    order = order_in(before, labels)
    if order is None:
        return f"new: {name} has one for other labels ({_shown(before)})"
    if order != sorted(order):
        return f"trained on from {name}, its labels matched by name ({_shown(before)})"
    return ""


def match_head(
    network: Any,
    before: Sequence[str] | None,
    labels: Sequence[str],
    drawn: Collection[str] = frozenset(),
) -> frozenset[str]:
    """Give each label its row of the output layer, in place; return the names of new weights.

    Args:
        network: The network, with the output layer of the labels `before`.
        before: The labels in the order of the rows; None if the file has no head of this kind. It
            may have one of another kind, with a layer of the same name and shape.
        labels: The labels in the order that is wanted, as many.
        drawn: The names of the weights that are new already.

    """
    order = None if before is None else order_in(before, labels)
    if order is not None and order == sorted(order):
        return frozenset()
    layers = _output_layers(network, len(labels))
    if before is None and (not layers or f"{layers[-1][0]}.weight" in drawn):
        return frozenset()
    if not layers:
        rule = f"must have a head with a linear layer of {len(labels)} outputs"
        raise Fault(CONFIG, rule, "another head", "Choose the model that it was trained from.")
    name, layer = layers[-1]
    if order is None:
        from torch import empty_like, nn

        for each, value in list(layer.named_parameters()):
            setattr(layer, each, nn.Parameter(empty_like(value)))
        network._init_weights(layer)
        return frozenset(f"{name}.{each}" for each, _ in layer.named_parameters())
    for _, value in layer.named_parameters():
        value.data = value.data[order]
    return frozenset()


def _output_layers(network: Any, num_labels: int) -> list[tuple[str, Any]]:
    """Return the linear layers with as many outputs, outside the backbone; the last is the head."""
    from torch import nn

    prefix = f"{network.base_model_prefix}."
    return [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
        and module.out_features == num_labels
        and not name.startswith(prefix)
    ]


def _shown(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MAX_SHOWN} more" if len(labels) > MAX_SHOWN else ""
    return ", ".join(labels[:MAX_SHOWN]) + more
