-- The newest word of the history on each store: the last good backup there, and the last that was verified. Fifty runs
-- back is far enough: who has had nothing but failures for so long has heard of it.
WITH told AS (
    SELECT r.finished_at, t.value AS target, row_number() OVER (ORDER BY r.started_at DESC) AS nth
    FROM (SELECT started_at, finished_at, details
          FROM pgtend.run
          WHERE job = $1 AND kind = 'backup' AND finished_at IS NOT NULL AND jsonb_typeof(details -> 'targets') = 'array'
          ORDER BY started_at DESC
          LIMIT 50) r
    CROSS JOIN LATERAL jsonb_array_elements(r.details -> 'targets') t
), good AS (
    SELECT DISTINCT ON (target ->> 'store') target ->> 'store' AS store, finished_at, target
    FROM told
    WHERE target ->> 'error' IS NULL
    ORDER BY target ->> 'store', nth
), verified AS (
    SELECT DISTINCT ON (target ->> 'store') target ->> 'store' AS store, (target ->> 'verified_at')::timestamptz AS verified_at
    FROM told
    WHERE target ->> 'verified_at' IS NOT NULL
    ORDER BY target ->> 'store', nth
)
SELECT wanted.store,
       good.finished_at                             AS last_success_at,
       verified.verified_at,
       (good.target ->> 'bytes')::float8            AS bytes,
       (good.target ->> 'size_ratio')::float8       AS size_ratio,
       (good.target ->> 'backups')::float8          AS backups
FROM unnest($2::text[]) AS wanted(store)
LEFT JOIN good USING (store)
LEFT JOIN verified USING (store)
