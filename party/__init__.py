"""One of the two computing parties."""
