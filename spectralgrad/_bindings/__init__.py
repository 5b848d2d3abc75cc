"""The array libraries. Nothing here knows a Primitive, an SVD, or any other part of the package."""
