"""NDOT: its methods, and what they alone share."""
