"""Best-of-N, refining and mixtures of both, on several budgets: `python -m training.lab.budgets`."""
