"""The engine: sources, face tracking, networks, and sinks for the result."""
