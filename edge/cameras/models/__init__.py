"""Nets: what ``walkout models install`` takes from packages, and how it becomes ONNX."""
