"""Seconds of a training step by phase, and their ratio to the frozen reference step."""

from harness.trial.probes.time.probe import Time

__all__ = ["Time"]
