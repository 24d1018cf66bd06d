"""What is wrong with a repository that lacks what training needs, and where there is something."""

from __future__ import annotations

from collections.abc import Collection

from lightning_modules.error import Problem, Verbatim
from lightning_modules.machine.hub.ask import hub_seconds, within
from lightning_modules.machine.hub.file import CONFIG, INDEX, SINGLE, pickled
from lightning_modules.machine.hub.wanted import Wanted

CONVERTER = "SFconvertbot"
"""The hub's own account that opens pull requests with safetensors."""
_SPACE = "https://huggingface.co/spaces/safetensors/convert"


def without_config(wanted: Wanted, names: Collection[str]) -> Problem:
    """Return the problem of a repository without config.json."""
    fix = f"Choose a model that transformers loads; see {wanted.page}/tree/main."
    if "adapter_config.json" in names:
        fix = "It is an adapter: choose its base model, which adapter_config.json names."
    elif any(name.endswith(".gguf") for name in names):
        fix = "It is a model for llama.cpp: choose the one that it was made from."
    return Problem(wanted.key, f"{wanted.name} must have {CONFIG}", _listed(names), fix)


def without_weights(wanted: Wanted, names: Collection[str]) -> Problem:
    """Return the problem of a repository without safetensors, with where there are some."""
    why = "because loading pickled weights can run code"
    rule = f"{wanted.name} must have {SINGLE} or {INDEX}, {why}"
    others = pickled(names)
    revision = converted(wanted) if others else None
    if revision is not None:
        fix = f"Set {wanted.revision_key}={revision}, where the hub has converted them."
    else:
        fix = (
            f"Have the hub convert them ({_SPACE}), and set {wanted.revision_key} to the refs/pr/N "
            "that it makes; or choose another model."
        )
    return Problem(wanted.key, rule, _listed(others or names), fix)


def converted(wanted: Wanted) -> str | None:
    """Return the pull request in which the hub converted a model's weights; None if unknown."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    def ask() -> str | None:
        found = HfApi().get_repo_discussions(wanted.name, discussion_type="pull_request")
        # Anybody may open one.
        own = (each for each in found if each.author == CONVERTER and each.status != "closed")
        return next((each.git_reference for each in own if "safetensors" in each.title), None)

    try:
        return within(hub_seconds(), ask)
    except (httpx.HTTPError, OSError):
        return None


def _listed(names: Collection[str]) -> Verbatim:
    shown = sorted(names)[:4]
    more = " ..." if len(names) > len(shown) else ""
    return Verbatim(", ".join(shown) + more if shown else "no files")
