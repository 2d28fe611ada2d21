"""What smartworker costs and how fast it is beside its peers, on real servers."""
