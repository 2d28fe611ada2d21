"""One environment variable: what is told of it, and how its text is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from smartworker.errors import SettingsError


@dataclass(frozen=True)
class Variable:
    """Its name, where it goes, how it is read, what it means.

    Without an attribute it means something only together with others, and `settings.py`
    reads it.
    """

    name: str
    attribute: str
    parse: Callable[[str], Any]
    allowed: str
    #: One sentence for docs/configuration.md, with each word that is allowed.
    meaning: str = ""
    #: The value that holds where nobody sets it, as it would be written.
    default: str = ""
    #: The same in words, where no value says it.
    unset: str = ""
    secret: bool = False
    #: Names that it had in earlier releases: they are read as well (renames.py).
    former: tuple[str, ...] = ()


def parse_value(variable: Variable, text: str) -> Any:
    """What the text means; raises SettingsError that names the variable."""
    try:
        return variable.parse(text)
    except (LookupError, ValueError, SettingsError) as error:
        shown = "a value that is not shown" if variable.secret else repr(text)
        raise SettingsError(
            f"{variable.name} is {shown}: {variable.allowed}."
        ) from error


def read_text(environment: Mapping[str, str], variable: Variable) -> str | None:
    """The text of a variable, or of the file it names; None if unset or blank.

    Raises SettingsError for a file that cannot be read.
    """
    text = environment.get(variable.name, "").strip()
    path = environment.get(f"{variable.name}_FILE", "").strip()
    if variable.secret and path:
        if text:
            raise SettingsError(
                f"{variable.name} and {variable.name}_FILE are both set: keep one."
            )
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{variable.name}_FILE names {path!r}, which cannot be read: "
                f"{getattr(error, 'strerror', None) or 'it is not text'}."
            ) from error
    return text or None


def refuse_unknown(
    environment: Mapping[str, str], variables: Sequence[Variable]
) -> None:
    """Raise SettingsError for a variable that is none of ours, and name the nearest.

    The hint for a name that is nearly a former one is the present one.
    """
    known: dict[str, str] = {}
    for variable in variables:
        for ending in ("", "_FILE") if variable.secret else ("",):
            present = variable.name + ending
            known |= {name + ending: present for name in variable.former}
            known[present] = present
    for name in environment:
        if name.startswith("SMARTWORKER_") and name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {known[near[0]]}?" if near else "remove it."
            raise SettingsError(f"{name} is not a setting of smartworker: {hint}")
