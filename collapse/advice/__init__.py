"""Advice about one's own lineage: how much real data keeps a condition, and what that costs."""
