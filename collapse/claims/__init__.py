"""Claims: sentences of a study, and definitions of collapse, judged on its records."""
