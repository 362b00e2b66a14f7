"""One time step."""
