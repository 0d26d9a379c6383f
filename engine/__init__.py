"""What runs: sources, face tracking, the networks, and the sinks that show the result."""
