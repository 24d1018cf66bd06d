from __future__ import annotations

from functools import cache

from search.config import compose
from search.plan.build import build_plan
from search.plan.plan import Plan


@cache
def plan_of(*overrides: str) -> Plan:
    return build_plan(compose("sweep", ["model=tiny", "logger=none", *overrides]))
