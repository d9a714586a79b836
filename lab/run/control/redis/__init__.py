"""A Redis server beside a controlled run: what its commands mean, and when it has done them."""
