"""Custom operators: contract, reference, dispatch, CUDA source."""
