"""The callbacks by which a run reports to the code that started it, and can be stopped by it."""

from __future__ import annotations

from lightning_modules.outcome import Point


class Hooks:
    """Called during a run; the defaults do nothing and let it run to the end."""

    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        """Receive the number of trained parameters, and of all parameters."""

    def on_features(self, num_examples: int, seconds: float, num_bytes: int) -> None:
        """Receive how many examples the frozen part of the network has read, and at which cost.

        Not called if their features are in the cache, nor by strategies that have no such part.

        Args:
            num_examples: Examples.
            seconds: How long it took.
            num_bytes: What their features take in the cache.

        """

    def on_train_start(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        """Receive what is known when training starts.

        Args:
            num_examples: Training examples that the run will see.
            stable_examples: How many of them a longer run would train on identically.
            hardware: Device and precision, and why they were chosen.

        """

    def on_split(self, num_at_once: int) -> None:
        """Receive that a batch does not fit into memory, and how many examples of it do."""

    def on_step(self, step: int, num_steps: int) -> None:
        """Receive the number of the optimizer step just done, of `num_steps`; must be quick."""

    def on_validation(self, point: Point) -> str | None:
        """Receive a validation; return a reason to prune the run, or None."""
        return None

    def on_checkpoint(self, step: int) -> None:
        """Receive the optimizer step whose checkpoint is now on disk."""

    def interrupted(self) -> bool:
        """Return whether the run must save a checkpoint and stop now."""
        return False

    def heartbeat(self, doing: str) -> None:
        """Receive a sign of life; must be quick.

        Called before anything that may take long: each phase, optimizer step and validation
        batch, and repeatedly while the run waits for disk space.

        Args:
            doing: What the run does next, e.g. "training, step 12 of 200".

        """

    def warn(self, text: str) -> None:
        """Receive a message that a person should read."""
