"""Export to ONNX, int8 ONNX and a classifier without the text tower."""
