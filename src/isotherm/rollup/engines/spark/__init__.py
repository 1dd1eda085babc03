"""The batch engine on Spark: a driver that stays, orders it gets, and the maps it leaves as Parquet."""
