"""Live windows: how many events a screen got, per minute, five minutes and hour, while they happen.

What is counted stands in `rule`; two engines count by it, the consumer here (`builtin`) and Flink's SQL
(`isotherm.rollup.engines.flink`). Both put absolute counts into the cache, where `read` finds them.
"""
