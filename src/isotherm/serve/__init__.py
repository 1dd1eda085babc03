"""Stage 5: the query and admin API over aggregates. One SQL file per question, one error envelope."""
