"""One revision a file, in the order of their numbers. A published revision is never edited."""
