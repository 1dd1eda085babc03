-- Screens, events and last event of several clients, each over the buckets of its own plan.
SELECT
    client_id,
    uniqExact(screen_id) AS screens,
    sum(m.events) AS events,
    max(m.last_event) AS last_event
FROM maps AS m FINAL
WHERE client_id IN {clients:Array(String)}
    AND segment = ''
    AND m.events > 0
    AND (
        (level = 'hour' AND (client_id, bucket_start) IN {hours:Array(Tuple(String, DateTime))})
        OR (level = 'day' AND (client_id, bucket_start) IN {days:Array(Tuple(String, DateTime))})
        OR (level = 'week' AND (client_id, bucket_start) IN {weeks:Array(Tuple(String, DateTime))})
    )
GROUP BY client_id
