"""Spectra: what counts as equal, as zero and as free; differences of functions; factorizations."""
