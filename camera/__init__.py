"""A camera: frames to masked embeddings."""
