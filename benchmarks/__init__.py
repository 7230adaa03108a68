"""Measurements of this machine: `make bench`. Figures compare within one run; machines differ."""
