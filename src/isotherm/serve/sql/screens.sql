-- One page of a client's screens over the buckets of a plan, most events first; keyset pagination.
SELECT
    screen_id,
    sum(type_events) AS events,
    sum(type_tiled) AS tiled,
    max(type_last_event) AS last_event,
    arraySort(groupArray(event_type)) AS types,
    arraySort((_, name) -> name, groupArray(type_events), groupArray(event_type)) AS type_counts
FROM
(
    SELECT
        screen_id,
        event_type,
        sum(m.events) AS type_events,
        sum(m.tiled) AS type_tiled,
        max(m.last_event) AS type_last_event
    FROM maps AS m FINAL
    WHERE client_id = {client_id:String}
        AND segment = ''
        AND m.events > 0
        AND (empty({search:String}) OR positionCaseInsensitiveUTF8(screen_id, {search:String}) > 0)
        AND (
            (level = 'hour' AND bucket_start IN {hours:Array(DateTime)})
            OR (level = 'day' AND bucket_start IN {days:Array(DateTime)})
            OR (level = 'week' AND bucket_start IN {weeks:Array(DateTime)})
        )
    GROUP BY screen_id, event_type
)
GROUP BY screen_id
HAVING events < {after_events:UInt64} OR (events = {after_events:UInt64} AND screen_id > {after_screen:String})
ORDER BY events DESC, screen_id
LIMIT {limit:UInt32}
