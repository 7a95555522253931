-- Every hold, also those that are over. An infinite time is for ever, or over already. The casts, because a table of that
-- name may have been made by anybody: what is not there is no name, and then everything is held.
SELECT coalesce(relation::text, '') AS relation,
       coalesce(reason::text, '') AS reason,
       CASE until::timestamptz WHEN 'infinity' THEN NULL WHEN '-infinity' THEN '0001-01-01 00:00Z' ELSE until::timestamptz END AS until
FROM pgtend.hold
ORDER BY 1, 3
