"""Speed, measured as ratios taken side by side: ``python -m benchmarks``."""
