"""How neurons run over time."""
