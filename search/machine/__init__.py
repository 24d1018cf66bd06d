"""The machine: processes, GPUs, signals."""
