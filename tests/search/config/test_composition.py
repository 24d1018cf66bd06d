from __future__ import annotations

import json

from search.config import Composition, compose


def test_a_prior_is_stored_and_read_again() -> None:
    composition = compose("sweep", ["study=s", "strategy=choice(lora,full)"])
    stored = json.loads(json.dumps(composition.as_dict()))
    assert Composition.from_dict(stored) == composition
    for arm in stored["arms"]:
        del arm["prior"]  # an earlier version's
    assert all(arm.prior is None for arm in Composition.from_dict(stored).arms)
