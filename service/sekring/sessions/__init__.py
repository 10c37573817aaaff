"""Sessions that are to be connected, and the gateways that own them by lease."""
