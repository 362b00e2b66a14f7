"""DSR, and what it alone uses."""
