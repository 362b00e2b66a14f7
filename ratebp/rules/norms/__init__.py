"""How norms run over time, outside of rate passes."""
