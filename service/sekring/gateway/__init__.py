"""The gateway: owns sessions by lease and connects them under the breaker."""
