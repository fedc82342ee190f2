"""How well a judge agrees with people, and how good a judge finds a generator: `python -m training.evaluate`.

Reading order: `pairs` (what is asked), `opinions` (what a judge said), `judges` (who can be asked), `ties` (the named
protocols), `figures` (accuracy, intervals, flips, calibration), `report`, `leakage`, `gate`, `benchmarks` (public pairs
with labels); `generation/` judges images by published protocols.
"""
