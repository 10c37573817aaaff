"""What `sekring doctor` examines, one subject a file; `examination.py` runs them all."""
