"""ONNX files as networks: what a file says, its sizes, its wiring."""
