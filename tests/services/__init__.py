"""Real servers for tests and benchmarks, started and stopped as processes of ours; README.md says how to use them."""
