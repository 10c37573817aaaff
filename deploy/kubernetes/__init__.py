"""Manifests for Kubernetes; what of them is made from other files."""
