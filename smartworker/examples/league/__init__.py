"""Makes the season's schedule of a league: who plays whom, when and where."""
