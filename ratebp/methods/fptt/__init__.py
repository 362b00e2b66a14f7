"""FPTT, and what it alone uses."""
