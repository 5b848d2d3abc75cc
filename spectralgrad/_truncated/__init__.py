"""The truncated SVD of large matrices: iteration, linear systems, rules and solvers."""
