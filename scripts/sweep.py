#!/usr/bin/env python
"""`finesweep sweep` by path: python scripts/sweep.py study=mine strategy=lora."""

import sys

from search.cli import main

sys.exit(main(["sweep", *sys.argv[1:]]))
