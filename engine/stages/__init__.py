"""The steps of the frame path, one file each."""
