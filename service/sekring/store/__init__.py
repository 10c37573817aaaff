"""Where the truth lives: keys, scripts and connections of Redis, and the embedded server."""
