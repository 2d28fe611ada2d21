"""A league to start with: 200 teams in 20 divisions, 15 venues. Pure."""

from datetime import date, time, timedelta
from random import Random

from smartworker.examples.league.model import League, Opening, Rules, Team, Venue

REGIONS = ("North", "East", "South", "West", "Central")
AGES = ("U10", "U12", "U14", "U16")
TOWNS = (
    *("Ashford", "Belmont", "Carver", "Dover", "Elmwood", "Fairhaven", "Granby"),
    *("Hadley", "Ironton", "Jasper"),
)
GROUNDS = ("Park", "Meadow", "Stadium")
#: Teams of a division, and venues of a region.
SIZE, PLACES = 10, len(GROUNDS)
#: Days between the first look at the league and the season, at least.
AHEAD = 14

_EVENINGS = tuple(Opening(day, time(18), time(21)) for day in (1, 3))
_WEEKEND = (Opening(5, time(9), time(18)), Opening(6, time(10), time(17)))


def sample_league(today: date, seed: int = 0) -> League:
    """The league for the season that comes next."""
    random = Random(seed)  # noqa: S311 - the same league for the same seed
    starts = today + timedelta(days=AHEAD)
    starts += timedelta(days=-starts.weekday() % 7)
    rules = Rules(starts=starts, weeks=11)
    venues = [
        _venue(random, rules, number, f"{region} {ground}")
        for number, (region, ground) in enumerate(
            (region, ground) for region in REGIONS for ground in GROUNDS
        )
    ]
    teams = [
        _team(random, rules, region, age, town)
        for region in range(len(REGIONS))
        for age in range(len(AGES))
        for town in range(len(TOWNS))
    ]
    return League(tuple(teams), tuple(venues), rules)


def _venue(random: Random, rules: Rules, number: int, name: str) -> Venue:
    """Two of three have evenings; each is closed on two Saturdays."""
    fields = random.choice((1, 1, 2))
    openings = _WEEKEND if number % PLACES == 0 else (*_EVENINGS, *_WEEKEND)
    weeks = random.sample(range(rules.weeks), 2)
    closed = {rules.starts + timedelta(days=7 * week + 5) for week in weeks}
    return Venue(number + 1, name, fields, openings, frozenset(closed))


def _team(random: Random, rules: Rules, region: int, age: int, town: int) -> Team:
    """Ten towns share the three venues of a region; some teams have a holiday."""
    number = (region * len(AGES) + age) * SIZE + town
    away: set[date] = set()
    if random.random() < 0.25:
        first = rules.starts + timedelta(days=random.randrange(7 * rules.weeks))
        away = {first + timedelta(days=day) for day in range(4)}
    return Team(
        id=number + 1,
        name=f"{TOWNS[town]} {REGIONS[region]} {AGES[age]}",
        division=f"{REGIONS[region]} {AGES[age]}",
        venue=region * PLACES + town % PLACES + 1,
        away=frozenset(away),
    )
