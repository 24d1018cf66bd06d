"""What a study lost, by what its workers wrote down and what its storage says in the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from faults.side import Trials

# What a side came to: numbers are losses, which should be 0; words are what else there is to say.
Found = dict[str, int | str]


def num_lost(trials: Trials) -> int:
    """Return how many results are not in the storage though their worker was told they are."""
    told = [(event["number"], event["value"]) for event in trials.of("told")]
    stored = {(t.number, t.value) for t in trials.all if t.state.name == "COMPLETE"}
    return len(told) - len(stored.intersection(told))


def num_running(trials: Trials) -> int:
    return sum(trial.state.name == "RUNNING" for trial in trials.all)


def num_finished(trials: Trials) -> int:
    return sum(trial.state.name == "COMPLETE" for trial in trials.all)


def num_distinct(trials: Trials) -> tuple[int, int]:
    """Return how many trials there are, and how many that differ."""
    tried = [json.dumps(trial.params, sort_keys=True) for trial in trials.all]
    return len(tried), len(set(tried))


def losses(trials: Trials) -> Found:
    """Return what a study lost: results, trials that nobody has, work done twice."""
    finished = Counter(event["trial"] for event in trials.of("told"))
    return {
        "told results lost": num_lost(trials),
        "trials left RUNNING": num_running(trials),
        "trials finished twice": sum(count > 1 for count in finished.values()),
    }


def ending(trials: Trials, is_over: bool) -> Found:
    """Return how the study ended, against its budget."""
    count = num_finished(trials)
    found: Found = {"trials too many": max(0, count - trials.budget)}
    if not is_over or count < trials.budget:
        found["trials missing at the end"] = max(0, trials.budget - count)
        found["ended"] = "in order" if is_over else "not in time"
    return found | {"finished": f"{count} of {trials.budget}"}


def interruptions(trials: Trials, pids: Sequence[int]) -> Found:
    """Return what became of the trials that killed workers were at."""
    events, states = trials.events, {trial.number: trial.state.name for trial in trials.all}
    sums: Counter[str] = Counter()
    for pid in pids:
        mine = [event for event in events if event["pid"] == pid]
        begins = [event for event in mine if event["event"] == "began"]
        if not begins or any(e["event"] == "told" and e["time"] > begins[-1]["time"] for e in mine):
            continue
        last = begins[-1]
        followers = [
            event
            for event in events
            if (event["event"], event["trial" if "trial" in event else "event"])
            == ("began", last["trial"])
            and event["time"] > last["time"]
        ]
        if not followers and states[last["number"]] == "COMPLETE":
            continue  # told, and killed before it could write that down
        saved = [e["step"] for e in mine if e["event"] == "saved" and e["trial"] == last["trial"]]
        sums["interrupted"] += 1
        sums["not continued"] += not followers
        if followers:
            sums["with other values"] += followers[0]["values"] != last["values"]
            sums["not from their checkpoint"] += followers[0]["step"] < max(saved, default=0)
            sums["under another number"] += followers[0]["number"] != last["number"]
    interrupted = sums.pop("interrupted", 0)
    keys = ("not continued", "with other values", "not from their checkpoint")
    found: Found = {f"of {interrupted} interrupted {keys[0]}": sums[keys[0]]}
    found |= {key: sums[key] for key in (*keys[1:], "under another number")}
    return found
