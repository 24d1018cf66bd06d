"""How many tokens an epoch of conversations reads: answer by answer, in one pass, and packed.

    python benchmarks/conversations.py            # 2,000 conversations
    python benchmarks/conversations.py --quick    # 300 conversations

The conversations have 1 to 5 questions and answers, made of the embedded reviews. The tokens
include the padding of the batches in which a run would train. One pass has one more target per
answer: what the template writes after the end token. Fails if one pass reads more tokens than
answer by answer.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from shared_parts.argument import parser_of

from lightning_modules.batch.order import epoch_batches
from lightning_modules.batch.type import IGNORED
from lightning_modules.model.kind import Kind
from lightning_modules.rows.embedded import REVIEWS
from lightning_modules.task.generation import Generation
from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer
from search.config import build_run, compose

MAX_LENGTH, BATCH_SIZE = 1024, 16
WAYS = {
    "one example per answer": ("task.conversations=turns",),
    "one pass": ("task.conversations=whole",),
    "one pass, packed": ("task.conversations=whole", "task.pack_answers=true"),
}


def conversations(number: int) -> Iterator[dict[str, Any]]:
    """Yield rows, each a list of messages."""
    lines = REVIEWS.read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    rng = random.Random(0)
    for _ in range(number):
        messages = []
        for _ in range(rng.randint(1, 5)):
            for role, size in (("user", rng.randint(1, 3)), ("assistant", rng.randint(1, 6))):
                messages.append({"role": role, "content": " ".join(rng.choices(texts, k=size))})
        yield {"text": messages}


def counts(words: Sequence[str], rows: Sequence[dict[str, Any]], tokenizer: Any) -> dict[str, int]:
    """Return the examples and the tokens of an epoch."""
    task = build_run(compose("train", ["task=generation", *words]).tree).task
    assert isinstance(task, Generation)
    columns = task.encode_training(rows, tokenizer, MAX_LENGTH, ())
    sizes = [len(ids) for ids in columns["input_ids"]]
    batches = epoch_batches(sizes, BATCH_SIZE, 0, 0)
    return {
        "examples": len(sizes),
        "targets": sum(int(t) != IGNORED for labels in columns["labels"] for t in labels),
        "tokens read": sum(len(batch) * max(sizes[row] for row in batch) for batch in batches),
    }


def main() -> int:
    """Print the table."""
    parser = parser_of(__doc__, "300 conversations")
    rows = list(conversations(300 if parser.parse_args().quick else 2000))
    texts = [message["content"] for row in rows for message in row["text"]]
    tokenizer = train_tokenizer([*texts, "<|user|>\n"], Vocabulary.bpe, 4000, Kind.decoder)
    found = {way: counts(words, rows, tokenizer) for way, words in WAYS.items()}
    print(f"{len(rows)} conversations, batches of {BATCH_SIZE}, at most {MAX_LENGTH} tokens")
    print(f"{'':24}" + "".join(f"{name:>14}" for name in next(iter(found.values()))))
    for way, each in found.items():
        print(f"{way:24}" + "".join(f"{value:14,}" for value in each.values()))
    turns, whole, packed = (each["tokens read"] for each in found.values())
    print(f"answer by answer reads {turns / whole:.2f} times the tokens of one pass,")
    print(f"and {turns / packed:.2f} times those of packed ones")
    return 0 if whole < turns else 1


if __name__ == "__main__":
    sys.exit(main())
