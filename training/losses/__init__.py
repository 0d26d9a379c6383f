"""Loss networks and objectives that several recipes use."""
