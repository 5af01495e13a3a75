"""TensorRT engines from ONNX graphs."""
