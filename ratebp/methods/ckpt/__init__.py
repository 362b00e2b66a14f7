"""Checkpointing: its method, and how it cuts time and layers."""
