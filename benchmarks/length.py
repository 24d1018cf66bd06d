"""How long runs should be: scores of recorded runs by learning rate, batch size and length.

    python benchmarks/length.py            # every recorded strategy
    python benchmarks/length.py --quick    # the same: it reads the records only

The score of a run is its accuracy on rows that no run saw (`benchmarks/records/README.md`), at the
end of its training, so that a run that is too long loses too. `docs/search.md` says what follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from record import load_records
from shared_parts.argument import parser_of

if TYPE_CHECKING:
    import pandas

NUM_ROWS = 400


def main() -> None:
    """Print a table for each strategy."""
    parser = parser_of(__doc__, "the same, as nothing is trained")
    parser.parse_args()
    runs = ended()
    for strategy, of_strategy in runs.groupby("strategy"):
        print(f"{strategy}, {NUM_ROWS} rows: accuracy on the truth at the end of the run")
        print(table(of_strategy).to_string(na_rep="", float_format=lambda value: f"{value:.3f}"))
        print()


def ended() -> pandas.DataFrame:
    """Return the runs of the first seed that ended by themselves, with their last true accuracy."""
    records = load_records()
    runs, scored = records.runs, records.validations.dropna(subset=["truth_accuracy"])
    last = scored.sort_values("number").groupby("run").tail(1).set_index("run")["truth_accuracy"]
    chosen = runs[(runs["num_rows"] == NUM_ROWS) & (runs["ending"] == "finished")]
    first = chosen[chosen["seed"] == chosen.groupby(["strategy", "point"])["seed"].transform("min")]
    return first.join(last, on="run")


def table(runs: pandas.DataFrame) -> pandas.DataFrame:
    """Return the true accuracy of each text, by rate, batch size and length in epochs and steps."""
    by = ["lr", "batch_size", "epochs", "num_steps"]
    return runs.pivot_table(index=by, columns="text", values="truth_accuracy").sort_index()


if __name__ == "__main__":
    main()
