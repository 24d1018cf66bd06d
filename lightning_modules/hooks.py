"""What a run asks of the code that started it, and reports to it."""

from __future__ import annotations

from lightning_modules.outcome import Point


class Hooks:
    """Called during a run; these do nothing and let it run to its end."""

    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        """Receive the number of parameters that will be trained, and of all parameters."""

    def on_train_start(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        """Receive what is known when training starts.

        Args:
            num_examples: Training examples that the run will see.
            stable_examples: Up to here a longer run would be the same.
            hardware: Device and precision, and why.

        """

    def on_step(self, step: int, num_steps: int) -> None:
        """Receive that optimizer step `step` of `num_steps` is done; must be quick."""

    def on_validation(self, point: Point) -> str | None:
        """Receive a validation; return a reason to prune the run, or None."""
        return None

    def on_checkpoint(self, step: int) -> None:
        """Receive that a checkpoint after optimizer step `step` is on disk."""

    def interrupted(self) -> bool:
        """Return whether the run must save a checkpoint and stop now."""
        return False

    def heartbeat(self, doing: str) -> None:
        """Receive a sign of progress; must be quick.

        Called before everything that may take long: each phase, optimizer step and validation
        batch, and repeatedly while the run waits for disk space.

        Args:
            doing: What comes next, e.g. "training, step 12 of 200".

        """

    def warn(self, text: str) -> None:
        """Receive something that a person should read."""
