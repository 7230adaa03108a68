"""One reader for tables as people have them: layouts, dialects, column forms, pieces."""
