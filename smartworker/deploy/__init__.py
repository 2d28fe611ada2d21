"""Ready configuration for cron services that call the triggers."""
