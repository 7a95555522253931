-- The last two dozen runs of each of the named jobs, oldest first. A few index look-ups a job, however long the history is.
SELECT j.job, past.started_at, past.finished_at, past.outcome
FROM unnest($1::text[]) AS j(job)
CROSS JOIN LATERAL (
    SELECT r.started_at, r.finished_at, r.outcome
    FROM pgtend.run r
    WHERE r.job = j.job
    ORDER BY r.started_at DESC
    LIMIT 24
) past
ORDER BY j.job, past.started_at
