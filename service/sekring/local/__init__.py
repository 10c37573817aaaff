"""The breaker once more, in plain Python, for a replica that Redis has left alone.

It is the reference as well: a test holds the Lua scripts to it by random sequences of everything
that can be done, so whoever reads it knows what both do.
"""
