"""Run named networks: OpenVINO, PyTorch, TensorRT. No module here knows a model family."""
