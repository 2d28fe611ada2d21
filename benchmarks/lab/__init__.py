"""What every measure works with: servers, links, processes, counts, files."""
