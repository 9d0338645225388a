"""What networks say of every pixel, as commands give it: labels, ROIs, probabilities, points and tables."""
