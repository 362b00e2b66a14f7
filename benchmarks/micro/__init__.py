"""Micro-benchmarks of the operators: `pytest benchmarks/micro --benchmark-enable`."""
