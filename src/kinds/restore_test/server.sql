-- Who we are on the server, and what we may do there.
SELECT pg_catalog.quote_ident(r.rolname)  AS role,
       r.rolsuper                         AS superuser,
       r.rolcreatedb                      AS makes_databases,
       r.rolcreaterole                    AS makes_roles,
       pg_catalog.pg_is_in_recovery()     AS standby
FROM pg_catalog.pg_roles r
WHERE r.rolname = CURRENT_USER
