"""OS, and what it alone uses."""
