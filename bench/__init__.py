"""Fixed workloads, floors and peers, measured in one run: `python -m bench --help`."""
