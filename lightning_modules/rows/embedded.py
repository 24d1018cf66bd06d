"""The embedded reviews: `data=reviews` reads them, `model=tiny` takes its words from them."""

from pathlib import Path

REVIEWS = Path(__file__).with_name("reviews.jsonl")
