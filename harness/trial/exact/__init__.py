"""The exact tier: what a step computes and keeps, counted, never timed."""
