"""The networks, nn.Module only. Importing a module here needs torch."""
