"""Checkpointing: its method, and how it divides time steps and layers into parts."""
