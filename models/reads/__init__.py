"""Questions to the tables. Nothing here changes anything; answers are values."""
