"""Gradients of other libraries and ours, at hard matrices."""
