-- How long the last refresh of each view took that job $1 did.
SELECT DISTINCT ON (view.key) view.key AS view, (view.value ->> 'seconds')::float8 AS seconds
FROM (SELECT id, details -> 'views' AS views
      FROM pgtend.run
      WHERE job = $1 AND kind = 'refresh' AND finished_at IS NOT NULL AND jsonb_typeof(details -> 'views') = 'object'
      ORDER BY started_at DESC
      LIMIT 20) run
CROSS JOIN LATERAL jsonb_each(run.views) AS view
ORDER BY view.key, run.id DESC
