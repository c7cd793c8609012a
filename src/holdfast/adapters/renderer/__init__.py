"""A renderer of simple scenes: words to shapes, shapes to pixels, pixels to a PNG. No model, and it says so."""
