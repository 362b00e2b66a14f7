"""The instrument: sweeps, trials, probes, tidy results and reports."""
