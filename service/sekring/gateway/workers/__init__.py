"""Worker processes: what holds connections, and may die without taking anything else along."""
