"""All time steps at once."""
