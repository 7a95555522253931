-- What runs of job $1 wrote down of each view when they last refreshed it. A run that refreshed nothing says nothing.
SELECT DISTINCT ON (view.key) view.key AS view, view.value AS noted
FROM (SELECT id, details -> 'views' AS views
      FROM pgtend.run
      WHERE job = $1 AND kind = 'refresh' AND finished_at IS NOT NULL AND jsonb_typeof(details -> 'views') = 'object'
      ORDER BY started_at DESC
      LIMIT 100) run
CROSS JOIN LATERAL jsonb_each(run.views) AS view
ORDER BY view.key, run.id DESC
