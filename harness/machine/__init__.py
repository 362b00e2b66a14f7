"""What the machine is: software, clocks, energy counters, GPUs; and how a process starts on it."""
