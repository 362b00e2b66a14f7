"""OSTL, and what it alone uses."""
