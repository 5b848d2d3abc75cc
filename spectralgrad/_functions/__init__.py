"""Scalar functions of a singular value or eigenvalue, by one protocol."""
