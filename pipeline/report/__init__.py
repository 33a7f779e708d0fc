"""The plots, the table and the page."""
