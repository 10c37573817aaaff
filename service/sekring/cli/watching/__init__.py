"""`sekring watch`: the fleet on a terminal, live."""
