"""What contracts are written in, and what is derived from them."""
