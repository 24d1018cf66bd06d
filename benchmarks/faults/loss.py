"""Count what a study lost, by comparing its workers' logs with its storage at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from faults.side import Trials

# The result of one side: numbers are losses, which should be 0; texts are other information.
Found = dict[str, int | str]


def num_lost(trials: Trials) -> int:
    """Return how many results are missing although the storage had confirmed them."""
    confirmed = [(event["number"], event["value"]) for event in trials.of("confirmed")]
    stored = {(t.number, t.value) for t in trials.all if t.state.name == "COMPLETE"}
    return len(confirmed) - len(stored.intersection(confirmed))


def num_running(trials: Trials) -> int:
    return sum(trial.state.name == "RUNNING" for trial in trials.all)


def num_finished(trials: Trials) -> int:
    return sum(trial.state.name == "COMPLETE" for trial in trials.all)


def num_distinct(trials: Trials) -> tuple[int, int]:
    """Return the number of trials and the number of distinct ones."""
    tried = [json.dumps(trial.params, sort_keys=True) for trial in trials.all]
    return len(tried), len(set(tried))


def losses(trials: Trials) -> Found:
    """Return the losses of a study: results, trials without a worker, work done twice."""
    finished = Counter(event["trial"] for event in trials.of("confirmed"))
    return {
        "stored results lost": num_lost(trials),
        "trials left RUNNING": num_running(trials),
        "trials finished twice": sum(count > 1 for count in finished.values()),
    }


def ending(trials: Trials, is_over: bool) -> Found:
    """Return how the study ended, compared with its budget."""
    count = num_finished(trials)
    result: Found = {"trials too many": max(0, count - trials.budget)}
    if not is_over or count < trials.budget:
        result["trials missing at the end"] = max(0, trials.budget - count)
        result["ended"] = "in order" if is_over else "not in time"
    return result | {"finished": f"{count} of {trials.budget}"}


def interruptions(trials: Trials, pids: Sequence[int]) -> Found:
    """Return what happened to the trials that killed workers were training."""
    events, states = trials.events, {trial.number: trial.state.name for trial in trials.all}
    sums: Counter[str] = Counter()
    for pid in pids:
        own_events = [event for event in events if event["pid"] == pid]
        starts = [event for event in own_events if event["event"] == "began"]
        if not starts or any(
            e["event"] == "confirmed" and e["time"] > starts[-1]["time"] for e in own_events
        ):
            continue
        last = starts[-1]
        followers = [
            event
            for event in events
            if (event["event"], event["trial" if "trial" in event else "event"])
            == ("began", last["trial"])
            and event["time"] > last["time"]
        ]
        if not followers and states[last["number"]] == "COMPLETE":
            continue  # stored its result, but was killed before it could log that
        saved = [
            e["step"] for e in own_events if e["event"] == "saved" and e["trial"] == last["trial"]
        ]
        sums["interrupted"] += 1
        sums["not continued"] += not followers
        if followers:
            sums["with other values"] += followers[0]["values"] != last["values"]
            sums["not from their checkpoint"] += followers[0]["step"] < max(saved, default=0)
            sums["under another number"] += followers[0]["number"] != last["number"]
    interrupted = sums.pop("interrupted", 0)
    keys = ("not continued", "with other values", "not from their checkpoint")
    result: Found = {f"of {interrupted} interrupted {keys[0]}": sums[keys[0]]}
    result |= {key: sums[key] for key in (*keys[1:], "under another number")}
    return result
