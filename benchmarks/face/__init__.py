"""The suite as pytest-benchmark users know it."""
