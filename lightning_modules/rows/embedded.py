"""The path of the embedded reviews, which `data=reviews` and `model=tiny` read."""

from pathlib import Path

REVIEWS = Path(__file__).with_name("reviews.jsonl")
