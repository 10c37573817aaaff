"""The dashboards for Grafana, as code: `python -m deploy.grafana` writes `dashboards/*.json`."""
