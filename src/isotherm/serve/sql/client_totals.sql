-- One client's screens, events and last event over the buckets of a plan.
SELECT
    uniqExact(screen_id) AS screens,
    sum(m.events) AS events,
    max(m.last_event) AS last_event
FROM maps AS m FINAL
WHERE client_id = {client_id:String}
    AND segment = ''
    AND m.events > 0
    AND (
        (level = 'hour' AND bucket_start IN {hours:Array(DateTime)})
        OR (level = 'day' AND bucket_start IN {days:Array(DateTime)})
        OR (level = 'week' AND bucket_start IN {weeks:Array(DateTime)})
    )
