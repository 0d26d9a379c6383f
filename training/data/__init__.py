"""Clips and pictures, decoded and tracked once, then read as pairs."""
