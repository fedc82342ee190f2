"""The proof on the miniature world: does a reward that reasons resist being gamed? `python -m training.nft.proof`."""
