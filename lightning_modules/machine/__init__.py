"""The machine: devices, memory, files, disks."""
