"""The HTTP half: triggers, task status, health."""
