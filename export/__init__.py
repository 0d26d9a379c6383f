"""Checkpoint to ONNX to TensorRT plan, compared per output before it is trusted."""
