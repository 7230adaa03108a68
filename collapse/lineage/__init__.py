"""The DAG of generations: its nodes, the map that DVC reads, and the code that each of its stages rests on."""
