"""Side-by-side measurements, as commands: `python -m benchmarks` runs all, `python -m benchmarks.modes` one.

Every benchmark compares its variants in one process, in turn, and reports ratios: machines are noisy.
"""
