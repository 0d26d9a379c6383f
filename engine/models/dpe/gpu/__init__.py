"""DPE on one GPU: a frame as one CUDA graph, and several sessions as one batch."""
