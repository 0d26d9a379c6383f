"""Kernels beside the eager chains they replace: time, bytes moved, share of the copy bandwidth."""
