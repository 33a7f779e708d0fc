"""What `make bench` runs: each row measures, and the table tells whether its target is met."""
