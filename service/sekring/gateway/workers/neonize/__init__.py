"""The driver for WhatsApp: neonize, which is whatsmeow (Go) behind ctypes."""
