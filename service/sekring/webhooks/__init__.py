"""Transitions POSTed to whoever wants them: signed, in order, by one replica at a time."""
