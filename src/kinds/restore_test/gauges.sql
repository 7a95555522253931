-- The newest word of the history on each store: when a backup from there was last restored and found whole, and how long
-- that took. Fifty runs back is far enough: who has had nothing but failures for so long has heard of it.
WITH told AS (
    SELECT t.value AS target, row_number() OVER (ORDER BY r.started_at DESC) AS nth
    FROM (SELECT started_at, details
          FROM pgtend.run
          WHERE job = $1 AND kind = 'restore_test' AND finished_at IS NOT NULL
            AND jsonb_typeof(details -> 'targets') = 'array'
          ORDER BY started_at DESC
          LIMIT 50) r
    CROSS JOIN LATERAL jsonb_array_elements(r.details -> 'targets') t
), good AS (
    SELECT DISTINCT ON (target ->> 'store') target ->> 'store' AS store, target
    FROM told
    WHERE target ->> 'tested_at' IS NOT NULL
    ORDER BY target ->> 'store', nth
)
SELECT wanted.store,
       (good.target ->> 'tested_at')::timestamptz       AS tested_at,
       (good.target ->> 'duration_seconds')::float8     AS duration
FROM unnest($2::text[]) AS wanted(store)
LEFT JOIN good USING (store)
