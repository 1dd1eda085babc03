-- Whether the tile store answers.
SELECT 1
