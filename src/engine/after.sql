-- Of each of the named jobs: when its newest run began, and when its newest success ended. A run that was skipped has done
-- nothing, and counts for nothing.
SELECT j.job, newest.started_at, good.finished_at
FROM unnest($1::text[]) AS j(job)
LEFT JOIN LATERAL (
    SELECT r.started_at
    FROM pgtend.run r
    WHERE r.job = j.job AND (r.outcome IS NULL OR r.outcome <> 'skipped')
    ORDER BY r.started_at DESC LIMIT 1
) newest ON true
LEFT JOIN LATERAL (
    SELECT r.finished_at
    FROM pgtend.run r
    WHERE r.job = j.job AND r.outcome = 'succeeded'
    ORDER BY r.started_at DESC LIMIT 1
) good ON true
