"""What `make bench` runs: each row measures, and the table says whether its target is met."""
