"""What a gateway tells of itself: traces of its attempts, metrics, probes."""
