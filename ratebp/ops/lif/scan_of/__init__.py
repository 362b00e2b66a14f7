"""All time steps at once, from the terms of the current."""
