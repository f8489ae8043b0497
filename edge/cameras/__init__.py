"""The shell of the cameras: models, image sources, detector workers and what supervises them."""
