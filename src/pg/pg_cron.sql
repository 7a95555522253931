-- What pg_cron runs in this database, as text to be searched for names: the command, and the bodies of the functions that
-- it calls. A role sees only its own rows of cron.job unless it is exempt from row security.
SELECT j.jobid::bigint,
       coalesce(j.jobname::text, ''),
       j.schedule::text,
       j.command || coalesce((
           SELECT string_agg(E'\n' || p.prosrc, '' ORDER BY p.oid)
           FROM pg_catalog.pg_proc p
           JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname NOT LIKE 'pg\_%'
             AND pg_catalog.strpos(pg_catalog.lower(j.command), pg_catalog.lower(p.proname)) > 0
       ), '') AS sql
FROM cron.job j
WHERE j.active AND j.database = pg_catalog.current_database()
ORDER BY j.jobid
