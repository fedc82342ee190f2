"""Fetching a released judge, once its user has agreed: which there are, what the hub says of them, and the way to the disk."""
