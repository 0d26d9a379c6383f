"""Run named networks: OpenVINO, PyTorch, TensorRT. No module here names a model family."""
