"""Existing data sets held against real data, without a model."""
