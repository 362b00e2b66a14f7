"""Integer training, and what it alone uses."""
