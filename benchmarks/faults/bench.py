"""The amount of each fault, and the studies to inject it into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.postgres import Postgres
from faults.side import Crew, Pool, Trials

SQLITE, POSTGRES = "SQLite", "PostgreSQL"


@dataclass(frozen=True)
class Scale:
    """The amount of each fault."""

    kills: int
    storm_trials: int
    dead_trials: int
    racers: int
    race_trials: int
    races: int
    reapings: int
    stops: int
    fillings: int
    restarts: int
    budgets: tuple[int, ...]
    distinct_trials: int


SCALES = {
    "small": Scale(8, 24, 8, 4, 40, 2, 3, 1, 1, 2, (1, 4), 20),
    "full": Scale(50, 200, 24, 16, 40, 20, 20, 5, 3, 5, (1, 4, 16), 60),
}


class Bench:
    """Creates the studies and workers of one benchmark run."""

    def __init__(self, folder: Path, scale: Scale, seed: int, server: Postgres | None) -> None:
        self.folder = folder
        self.scale = scale
        self.seed = seed
        self.server = server
        self._num_studies = 0
        self._crews: list[Crew] = []
        self._pools: dict[tuple[str, int], Pool] = {}

    def study(self, side: str, storage: str, budget: int, **more: Any) -> Trials:
        """Create a study in a new database."""
        self._num_studies += 1
        url = self.server.new_database() if storage == POSTGRES and self.server else None
        folder = more.pop("root", None) or self.folder / f"{self._num_studies}-{side}"
        assert isinstance(folder, Path)
        return Trials(side, folder, url, budget, seed=self.seed, **more)

    def crew(self, trials: Trials, num_workers: int) -> Crew:
        """Start workers for a study."""
        self._crews.append(Crew(trials, num_workers))
        return self._crews[-1]

    def end(self) -> None:
        """End all processes."""
        for crew in self._crews:
            crew.kill_all()
        for pool in self._pools.values():
            pool.end()

    def pool(self, side: str, num_workers: int) -> Pool:
        """Return a pool of waiting workers; calls with the same arguments share it."""
        key = (side, num_workers)
        if key not in self._pools:
            self._pools[key] = Pool(side, num_workers, self.folder / f"{side}.stderr")
        return self._pools[key]
