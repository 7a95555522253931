-- Forgets runs and requests from before $1, at most $2 of each, but never a job's newest run nor its newest success:
-- the gauges, and the question "when did this last work?", live on them.
WITH old AS (
    SELECT r.id
    FROM pgtend.run r
    WHERE r.started_at < $1
      AND r.finished_at IS NOT NULL
      AND EXISTS (SELECT FROM pgtend.run newer WHERE newer.job = r.job AND newer.started_at > r.started_at)
      AND (r.outcome <> 'succeeded'
           OR EXISTS (SELECT FROM pgtend.run newer
                      WHERE newer.job = r.job AND newer.outcome = 'succeeded' AND newer.started_at > r.started_at))
    LIMIT $2
), runs AS (
    DELETE FROM pgtend.run r USING old WHERE r.id = old.id RETURNING r.id
), requests AS (
    DELETE FROM pgtend.request q
    WHERE q.id IN (SELECT o.id FROM pgtend.request o WHERE o.requested_at < $1 LIMIT $2)
    RETURNING q.id
)
SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM requests)
