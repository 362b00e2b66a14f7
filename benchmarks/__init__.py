"""What to run: sweeps and micro-benchmarks."""
