"""Saves schedules at once and brings each change to a third party afterwards."""
