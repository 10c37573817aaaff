"""Logs, traces and metrics, configured by OpenTelemetry's own environment variables."""
