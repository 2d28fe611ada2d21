"""The scripts, each in a file that names its keys, arguments, reply and cost."""

from importlib.resources import files


def script(name: str) -> str:
    """The text of a script, by the name of its file."""
    return (files(__name__) / f"{name}.lua").read_text(encoding="utf-8")
