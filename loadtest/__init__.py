"""Speed, scale and scenarios under load: run by hand, results in `loadtest/results`."""
