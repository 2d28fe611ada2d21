"""Settings that were renamed: a former name is read as well, and said to be one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from smartworker.environment import Variable, read_text
from smartworker.errors import SettingsError


@dataclass(frozen=True)
class Renamed:
    """A setting that is set under a name that it had before."""

    former: str
    name: str


def present_names(
    environment: Mapping[str, str], variables: Sequence[Variable]
) -> tuple[dict[str, str], tuple[Renamed, ...]]:
    """The environment without former names, and those that were set.

    What a former name says stands under the present one, also where a secret came
    from `NAME_FILE`. Both may be set while they say the same, so that one environment
    serves two releases. Raises SettingsError where they differ.
    """
    found, renamed = dict(environment), []
    for variable in variables:
        source = variable.name
        for former in variable.former:
            text = read_text(environment, replace(variable, name=former))
            found.pop(former, None)
            found.pop(f"{former}_FILE", None)
            if text is None:
                continue
            renamed.append(Renamed(former, variable.name))
            kept = read_text(found, variable)
            if kept is None:
                found[variable.name], source = text, former
            elif kept != text:
                raise SettingsError(
                    f"{former} and {source} are both set, and differ: keep "
                    f"{variable.name} alone, which is the present name."
                )
    return found, tuple(renamed)


def explained(error: SettingsError, renamed: Iterable[Renamed]) -> SettingsError:
    """The same error; it says so if the setting that it names has a former name."""
    hints = [
        f" (Here {each.name} is set by its former name, {each.former}.)"
        for each in renamed
        if each.name in str(error)
    ]
    return SettingsError(str(error) + "".join(hints)) if hints else error
