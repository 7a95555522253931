-- Who we are on the server, what we may do there, and where a new database would lie: nothing where that is another host's
-- disk, another tablespace's, or none of our business (pg_settings hides the row then).
SELECT pg_catalog.quote_ident(r.rolname)  AS role,
       r.rolsuper                         AS superuser,
       r.rolcreatedb                      AS makes_databases,
       r.rolcreaterole                    AS makes_roles,
       pg_catalog.pg_is_in_recovery()     AS standby,
       (SELECT s.setting
        FROM pg_catalog.pg_settings s
        WHERE s.name = 'data_directory' AND pg_catalog.inet_server_addr() IS NULL
          AND pg_catalog.current_setting('default_tablespace') = '') AS folder
FROM pg_catalog.pg_roles r
WHERE r.rolname = CURRENT_USER
