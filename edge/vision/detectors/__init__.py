"""Detectors as pure functions: an image to a net's input, a net's outputs to people in pixels."""
