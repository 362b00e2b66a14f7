"""Exact training whose leaves share what they keep for the backward."""
