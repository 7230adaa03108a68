"""What a study produces for its reader: the page, the tidy measurements and the summaries."""
