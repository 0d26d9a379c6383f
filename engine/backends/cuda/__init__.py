"""One NVIDIA GPU through PyTorch: memory, streams, captured graphs, and the networks that run on
them."""
