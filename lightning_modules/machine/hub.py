"""Whether the hub has a model or data set, asked once and briefly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning_modules.error import ConfigError, Problem, Verbatim

HUB_SECONDS = 5.0


def check_reachable(key: str, name: str) -> None:
    """Ask whether the model can be had: from the cache, else of the hub, once and briefly.

    Leaves its config.json in the cache, so that `max_length` is known.

    Raises:
        ConfigError: The hub has no such model or cannot be reached.
    """
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    def is_cached(file: str) -> bool:
        return isinstance(try_to_load_from_cache(name, file), str)

    with asking_hub(key, "model", name, "give a folder, or set model=minilm"):
        weights = ("model.safetensors", "model.safetensors.index.json")
        if is_cached("config.json") and any(is_cached(file) for file in weights):
            return
        HfApi().model_info(name, timeout=HUB_SECONDS)
        hf_hub_download(name, "config.json")


@contextmanager
def asking_hub(key: str, kind: str, name: str, instead: str) -> Iterator[None]:
    """Turn the hub's refusals, and its silence, into a ConfigError about `name`.

    Args:
        key: The config key that holds the name.
        kind: What is asked for, as `model`.
        name: Its name on the hub.
        instead: What to do where there is no network.

    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        httpx,  # whichever release of it the hub client uses
    )

    rule = f"must be a local folder or a {kind} of the hub"
    try:
        yield
    except HFValidationError:
        raise ConfigError(Problem(key, rule, name, "Hub names read owner/name.")) from None
    except HfHubHTTPError as error:
        got = Verbatim(f"{name!r} ({str(error).splitlines()[0]})")
        raise ConfigError(
            Problem(key, rule, got, "Is the name right, and are you let in?")
        ) from None
    except (httpx.HTTPError, OSError, OfflineModeIsEnabled):
        fix = f"Connect to the network, {instead}."
        got = Verbatim(f"{name!r}, which is no folder here, not in the cache, and no network")
        raise ConfigError(Problem(key, rule, got, fix)) from None
