"""Celery's and APScheduler's home: setup, results, the bootstep and its timers."""
