"""How well a judge agrees with people: `python -m training.evaluate`.

Reading order: `pairs` (what is asked), `opinions` (what a judge said), `judges` (who can be asked), `ties` (the named
protocols), `figures` (accuracy, intervals, flips, calibration), `report`, `leakage`, `gate`, `benchmarks/`.
"""
