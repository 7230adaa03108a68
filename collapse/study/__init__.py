"""Studies: what a file of `studies/` may say, parsed once, strict and frozen."""
