"""Importers: each reads one data set by its exact column names and yields `PreferencePair`s."""
