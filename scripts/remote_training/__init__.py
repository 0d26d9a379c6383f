"""Training on a remote GPU that has no internet access."""
