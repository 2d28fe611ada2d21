"""The table of settings of a release that has renamed some of them."""

from dataclasses import replace

from smartworker.environment import Variable
from smartworker.variables import VARIABLES

#: Present name -> former ones. No setting has really been renamed so far.
FORMER = {
    "SMARTWORKER_LEASE": ("SMARTWORKER_HOLD", "SMARTWORKER_GRASP"),
    "SMARTWORKER_ADMIN_TOKEN": ("SMARTWORKER_OWNER_TOKEN",),
    "SMARTWORKER_WINDOWS": ("SMARTWORKER_RUSH_HOURS",),
    "DATABASE_URL": ("HISTORY_URL",),
}


def with_former_names(variable: Variable) -> Variable:
    """The variable as that release declares it."""
    return replace(variable, former=FORMER.get(variable.name, ()))


TABLE = tuple(map(with_former_names, VARIABLES))
