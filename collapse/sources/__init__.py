"""Sources of real data, one file each."""
