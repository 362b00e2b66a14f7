"""E-prop, and what it alone uses."""
