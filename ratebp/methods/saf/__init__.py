"""Spike accumulation forwarding: its methods, and what they alone share."""
