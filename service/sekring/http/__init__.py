"""The HTTP service: one file per group of routes, wired together in `sekring.http.app`."""
