"""Speed and scale, measured."""
