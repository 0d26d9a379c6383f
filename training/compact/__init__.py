"""Training of the compact preset."""
