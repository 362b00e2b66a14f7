"""Time steps that record what rate-based backpropagation needs."""
