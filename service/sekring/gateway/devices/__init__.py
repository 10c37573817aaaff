"""Devices: the keys by which WhatsApp knows a paired session, and which instance has which."""
