#!/usr/bin/env python
"""`finesweep train` by path: python scripts/train.py run=one strategy=full."""

import sys

from search.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
