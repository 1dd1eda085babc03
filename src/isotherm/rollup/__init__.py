"""4. Lake -> tiles: hourly, daily and weekly maps, and the scheduler that keeps them fresh."""
