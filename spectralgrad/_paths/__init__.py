"""Analytic singular value decompositions along paths of matrices."""
