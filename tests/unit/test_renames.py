"""Settings that were renamed: the former name works, with a warning."""

from datetime import timedelta
from pathlib import Path

import pytest

from smartworker.errors import SettingsError
from smartworker.renames import Renamed
from smartworker.settings import Settings
from smartworker.variables import VARIABLES
from tests.upgrades.table import TABLE

TOKEN = "0123456789abcdef0123456789abcdef"
ANOTHER = TOKEN[::-1]
LEASE = Renamed("SMARTWORKER_HOLD", "SMARTWORKER_LEASE")


def read(**environment: str) -> Settings:
    """The settings of a release that has renamed some."""
    return Settings.from_environment(environment, TABLE)


def refusal(**environment: str) -> str:
    """The sentence with which these variables are refused."""
    with pytest.raises(SettingsError) as caught:
        read(**environment)
    return str(caught.value)


def test_a_former_name_is_read() -> None:
    """The value is the same as by the present name, and the former name is noted."""
    settings = read(SMARTWORKER_HOLD="7m")
    assert settings.lease == timedelta(minutes=7)
    assert settings == read(SMARTWORKER_LEASE="7m")
    assert settings.renamed == (LEASE,)
    assert read(SMARTWORKER_LEASE="7m").renamed == ()


def test_a_blank_former_name_is_an_unset_one() -> None:
    """It says nothing, and nothing is said about it."""
    settings = read(SMARTWORKER_HOLD=" ", SMARTWORKER_LEASE="7m")
    assert settings.lease == timedelta(minutes=7)
    assert settings.renamed == ()


def test_every_kind_of_setting_can_be_renamed() -> None:
    """Those without a field of their own, and those of others, too."""
    settings = read(SMARTWORKER_RUSH_HOURS="1:00-2:00=1m", HISTORY_URL="sqlite://")
    assert [span.name for span in settings.windows.spans] == ["01:00-02:00"]
    assert settings.database_url == "sqlite://"
    assert {each.name for each in settings.renamed} == {
        "SMARTWORKER_WINDOWS",
        "DATABASE_URL",
    }


def test_both_names_may_say_the_same() -> None:
    """So one environment serves both releases of a rolling deploy."""
    settings = read(SMARTWORKER_HOLD="7m", SMARTWORKER_LEASE=" 7m")
    assert settings.lease == timedelta(minutes=7)
    assert settings.renamed == (LEASE,)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SMARTWORKER_HOLD", "SMARTWORKER_LEASE"),
        ("SMARTWORKER_GRASP", "SMARTWORKER_HOLD"),
    ],
)
def test_names_that_differ_are_refused(first: str, second: str) -> None:
    """Nobody can know which one is meant."""
    assert refusal(**{first: "7m", second: "8m"}) == (
        f"{first} and {second} are both set, and differ: keep SMARTWORKER_LEASE "
        "alone, which is the present name."
    )


def test_a_former_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """Each name may be the file's; what differs is refused without being shown."""
    file, other = tmp_path / "token", tmp_path / "other"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    other.write_text(ANOTHER, encoding="utf-8")
    former = {"SMARTWORKER_OWNER_TOKEN_FILE": str(file)}
    settings = read(**former)
    assert settings.admin_token == TOKEN
    assert settings.renamed == (
        Renamed("SMARTWORKER_OWNER_TOKEN", "SMARTWORKER_ADMIN_TOKEN"),
    )
    assert read(**former, SMARTWORKER_ADMIN_TOKEN=TOKEN).admin_token == TOKEN
    sentence = refusal(**former, SMARTWORKER_ADMIN_TOKEN_FILE=str(other))
    assert sentence.startswith(
        "SMARTWORKER_OWNER_TOKEN and SMARTWORKER_ADMIN_TOKEN are both set, and differ"
    )
    assert TOKEN not in sentence
    missing = refusal(SMARTWORKER_OWNER_TOKEN_FILE=str(tmp_path / "missing"))
    assert missing.startswith("SMARTWORKER_OWNER_TOKEN_FILE names ")


@pytest.mark.parametrize("value", ["soon", "0s"])
def test_a_wrong_value_says_where_it_stands(value: str) -> None:
    """The sentence is about the present name, and names the one that is set."""
    sentence = refusal(SMARTWORKER_HOLD=value)
    assert sentence.startswith(f"SMARTWORKER_LEASE is {value!r}: ")
    assert sentence.endswith(
        " (Here SMARTWORKER_LEASE is set by its former name, SMARTWORKER_HOLD.)"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SMARTWORKER_HOLDS", "SMARTWORKER_LEASE"),
        ("SMARTWORKER_OWNER_TOKEN_FIL", "SMARTWORKER_ADMIN_TOKEN_FILE"),
        ("SMARTWORKER_RUSHHOURS", "SMARTWORKER_WINDOWS"),
    ],
)
def test_a_misspelled_former_name_suggests_the_present_one(
    name: str, hint: str
) -> None:
    """Whoever corrects it need not do so twice."""
    assert refusal(**{name: "1"}) == (
        f"{name} is not a setting of smartworker: did you mean {hint}?"
    )


def test_no_name_means_two_things() -> None:
    """A former name is no present one, and belongs to one setting alone."""
    for table in (VARIABLES, TABLE):
        names = [name for each in table for name in (each.name, *each.former)]
        assert len(names) == len(set(names))
