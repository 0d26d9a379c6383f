"""Search of pictures by expression and head pose: an index file, exact search, a sheet."""
