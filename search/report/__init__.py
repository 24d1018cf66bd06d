"""Reports on a study: tables, pictures, W&B and the dashboard."""
