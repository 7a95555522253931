-- Whether there is a table pgtend.hold, and whether this role could make it, as the daemon does before it runs anything.
SELECT pg_catalog.quote_ident(current_user) AS role,
       c.oid IS NOT NULL AS is_there,
       CASE
           WHEN n.oid IS NULL THEN pg_catalog.has_database_privilege(current_database(), 'CREATE')
           ELSE pg_catalog.has_schema_privilege(n.oid, 'CREATE') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
       END AS could_be_made,
       CASE
           WHEN n.oid IS NULL THEN pg_catalog.format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user)
           ELSE pg_catalog.format('GRANT USAGE, CREATE ON SCHEMA pgtend TO %I;', current_user)
       END AS grant
FROM (SELECT) AS here
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'pgtend'
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'hold'
