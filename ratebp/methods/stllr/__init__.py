"""S-TLLR, and what it alone uses."""
