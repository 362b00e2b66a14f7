"""One time step, from the terms of the currents."""
