-- How each of the named jobs stands: its newest run, its newest success, what is in progress, and how many runs have gone
-- badly since the last one that went well. A few index look-ups a job, however long the history is.
SELECT j.job,
       newest.started_at  AS last_started_at,
       newest.finished_at AS last_finished_at,
       newest.outcome     AS last_outcome,
       newest.error       AS last_error,
       newest.trigger     AS last_trigger,
       newest.attempt     AS last_attempt,
       newest.due_at      AS last_run_due_at,
       newest.died        AS last_died,
       good.finished_at   AS last_success_at,
       -- A clock that was behind when the run ended must not make its due time look missed.
       greatest(good.finished_at, good.due_at) AS succeeded_until,
       first.started_at   AS first_started_at,
       due.due_at         AS last_due_at,
       open.started_at    AS running_since,
       open.host          AS running_on,
       coalesce(bad.runs, 0) AS consecutive_failures
FROM unnest($1::text[]) AS j(job)
LEFT JOIN LATERAL (
    SELECT r.started_at, r.finished_at, r.outcome, r.error, r.trigger, r.attempt, r.due_at,
           r.details @> '{"daemon_died": true}' AS died
    FROM pgtend.run r
    WHERE r.job = j.job AND r.finished_at IS NOT NULL
    ORDER BY r.started_at DESC LIMIT 1
) newest ON true
LEFT JOIN LATERAL (
    SELECT r.started_at, r.finished_at, r.due_at
    FROM pgtend.run r
    WHERE r.job = j.job AND r.outcome = 'succeeded'
    ORDER BY r.started_at DESC LIMIT 1
) good ON true
LEFT JOIN LATERAL (
    SELECT r.started_at
    FROM pgtend.run r
    WHERE r.job = j.job
    ORDER BY r.started_at LIMIT 1
) first ON true
LEFT JOIN LATERAL (
    SELECT r.due_at
    FROM pgtend.run r
    WHERE r.job = j.job AND r.due_at IS NOT NULL
    ORDER BY r.due_at DESC LIMIT 1
) due ON true
LEFT JOIN LATERAL (
    SELECT r.started_at, r.host
    FROM pgtend.run r
    WHERE r.job = j.job AND r.finished_at IS NULL
    ORDER BY r.started_at DESC LIMIT 1
) open ON true
LEFT JOIN LATERAL (
    -- Bounded: past a thousand the exact number says nothing new.
    SELECT count(*) AS runs
    FROM (
        SELECT FROM pgtend.run r
        WHERE r.job = j.job
          AND r.finished_at IS NOT NULL
          AND r.outcome NOT IN ('succeeded', 'skipped')
          AND r.started_at > coalesce(good.started_at, '-infinity')
        LIMIT 1000
    ) since
) bad ON true
