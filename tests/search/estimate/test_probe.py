from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError
from search.estimate.probe import probe
from tests.search.estimate.test_estimate import plan_of


def test_what_a_loop_of_the_users_own_trains_is_not_measured() -> None:
    with pytest.raises(ConfigError, match=r"probe: must be false if search.ask_tell is true"):
        probe(plan_of("search.ask_tell=true"))
