"""Runs a sweep: which trials, in which order, in which processes, alone or beside each other."""
