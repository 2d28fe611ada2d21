"""Books swim lanes for members when a facility releases its slots."""
