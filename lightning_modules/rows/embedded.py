"""The paths of the texts that ship with the package."""

from pathlib import Path

REVIEWS = Path(__file__).with_name("reviews.jsonl")
"""What `data=reviews` and `model=tiny` read."""
NEUTRAL = Path(__file__).with_name("neutral.txt")
"""What the guard `forgetting` reads: plain prose on everyday things, written for this project."""
