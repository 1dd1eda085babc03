-- One row is one map: the counts of one client, screen, event type and segment in one bucket.
-- Three forms, told apart by `cells` and `counts`:
--   dense   cells = [], counts = one number per cell, index cell_y * grid_w + cell_x
--   sparse  cells = the cells that are not zero, rising; counts = their numbers, same length
--   zero    cells = [], counts = []; with events > 0 nothing had a position, with events = 0 the map vanished
-- `events` counts all landed events of the map, `tiled` those in a cell (the sum of counts).
CREATE TABLE IF NOT EXISTS @stored(maps) @on_cluster
(
    client_id LowCardinality(String),
    screen_id String,
    event_type LowCardinality(String),
    segment String,
    level Enum8('hour' = 1, 'day' = 2, 'week' = 3),
    bucket_start DateTime('UTC'),
    version UInt64,
    grid_w UInt16,
    grid_h UInt16,
    cells Array(UInt16),
    counts Array(UInt64) CODEC(T64, LZ4),
    events UInt64,
    tiled UInt64,
    last_event DateTime64(3, 'UTC')
)
ENGINE = @engine(maps, ReplacingMergeTree, version)
-- A year's weeks lie side by side: with monthly partitions a year's map is read from 13 places, four rows
-- wanted in each, and a whole granule is unpacked for every one of them.
PARTITION BY (level, if(level = 'hour', toYYYYMM(bucket_start), toYear(bucket_start)))
ORDER BY (client_id, screen_id, event_type, segment, level, bucket_start)
SETTINGS index_granularity = 8, fsync_after_insert = 1, fsync_part_directory = 1;

@distribute(maps, client_id);

-- The tables other engines know, for mouse moves of all visitors: one row per cell that is not zero.
CREATE VIEW IF NOT EXISTS heatmap_hourly @on_cluster AS
SELECT client_id, screen_id, bucket_start, cell % grid_w AS cell_x, intDiv(cell, grid_w) AS cell_y, count
FROM maps FINAL
ARRAY JOIN counts AS count, if(empty(cells), range(length(counts)), cells) AS cell
WHERE level = 'hour' AND event_type = 'mousemove' AND segment = '' AND count > 0;

CREATE VIEW IF NOT EXISTS heatmap_daily @on_cluster AS
SELECT client_id, screen_id, bucket_start, cell % grid_w AS cell_x, intDiv(cell, grid_w) AS cell_y, count
FROM maps FINAL
ARRAY JOIN counts AS count, if(empty(cells), range(length(counts)), cells) AS cell
WHERE level = 'day' AND event_type = 'mousemove' AND segment = '' AND count > 0;

CREATE VIEW IF NOT EXISTS heatmap_weekly @on_cluster AS
SELECT client_id, screen_id, bucket_start, cell % grid_w AS cell_x, intDiv(cell, grid_w) AS cell_y, count
FROM maps FINAL
ARRAY JOIN counts AS count, if(empty(cells), range(length(counts)), cells) AS cell
WHERE level = 'week' AND event_type = 'mousemove' AND segment = '' AND count > 0;
