"""Cron jobs without Celery and without HTTP: what is declared and who may call it."""
