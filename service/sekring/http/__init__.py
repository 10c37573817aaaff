"""The HTTP service: one file per group of routes, wired together in `sekring.http.app`."""

# First of all in a server process, which begins by importing `sekring.http.app`.
import sekring.lean  # noqa: F401
