"""Check with the hub that it has a model or data set, in one short request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from lightning_modules.error import ConfigError, Problem, Verbatim

HUB_SECONDS = 5.0
AGAIN_SECONDS = 60.0


def check_reachable(key: str, name: str) -> None:
    """Check that the model is in the cache, or else on the hub, in one short request.

    Downloads its config.json to the cache, so that `max_length` is known.

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


def fetch_config(name: str) -> None:
    """Download a model's config.json to the cache if it is not there; do nothing if that fails.

    A process asks at most once a minute for a model: each arm of a study needs the answer, and a
    hub that cannot be reached takes `HUB_SECONDS` not to give it.
    """
    _fetch_config(name, int(time.monotonic() / AGAIN_SECONDS))


@cache
def _fetch_config(name: str, minute: int) -> None:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    with suppress(ConfigError), asking_hub("model.path", "model", name, ""):
        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            HfApi().model_info(name, timeout=HUB_SECONDS)  # the download would retry for long
            hf_hub_download(name, "config.json")


@contextmanager
def asking_hub(key: str, kind: str, name: str, instead: str) -> Iterator[None]:
    """Turn errors and timeouts of the hub into a ConfigError about `name`.

    Args:
        key: The config key with the name.
        kind: What is requested, e.g. `model`.
        name: Its name on the hub.
        instead: What to do without a network.

    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        httpx,  # the release of it that the hub client uses
    )

    rule = f"must be a local folder or a {kind} on the hub"
    try:
        yield
    except HFValidationError:
        raise ConfigError(Problem(key, rule, name, "Write it as owner/name.")) from None
    except HfHubHTTPError as error:
        got = Verbatim(f"{name!r} ({str(error).splitlines()[0]})")
        fix = "Check the name, and that you have access to it."
        raise ConfigError(Problem(key, rule, got, fix)) from None
    except (httpx.HTTPError, OSError, OfflineModeIsEnabled):
        fix = f"Connect to the network, {instead}."
        got = Verbatim(f"{name!r}, which is not a folder, not in the cache, and no network")
        raise ConfigError(Problem(key, rule, got, fix)) from None
