"""Export to ONNX, int8 and a classifier without its text tower."""
