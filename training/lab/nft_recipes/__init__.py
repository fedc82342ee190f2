"""Which recipe keeps its gain in use, under guidance and the refine loop? `python -m training.lab.nft_recipes`."""
