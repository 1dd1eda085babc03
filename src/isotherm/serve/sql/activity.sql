-- Events of a client, or of one of its screens, per bucket; an empty list of event types means all of them.
SELECT
    toInt64(toUnixTimestamp(bucket_start)) AS start,
    sum(m.events) AS events
FROM maps AS m FINAL
WHERE client_id = {client_id:String}
    AND segment = ''
    AND m.events > 0
    AND (empty({screen_id:String}) OR screen_id = {screen_id:String})
    AND (empty({event_types:Array(String)}) OR has({event_types:Array(String)}, event_type))
    AND (
        (level = 'hour' AND bucket_start IN {hours:Array(DateTime)})
        OR (level = 'day' AND bucket_start IN {days:Array(DateTime)})
        OR (level = 'week' AND bucket_start IN {weeks:Array(DateTime)})
    )
GROUP BY start
ORDER BY start
