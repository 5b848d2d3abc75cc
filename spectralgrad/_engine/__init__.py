"""Differentiates any Primitive, on any array library. Nothing here knows an SVD."""
