"""Regimes: rules that make the next training set, one file each."""
