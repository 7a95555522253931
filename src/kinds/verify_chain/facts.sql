-- What there is under the name of schema $1 and table $2, and of the columns $3 of it: the type, whether we may read it,
-- and whether an index begins with it.
SELECT c.oid, c.relkind,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS schema_usage,
       pg_catalog.row_security_active(c.oid)           AS row_security,
       current_user::text                              AS role,
       w.name AS column,
       format_type(a.atttypid, NULL)                   AS type,
       coalesce(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'), false) AS readable,
       EXISTS (SELECT FROM pg_catalog.pg_index i
               WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indpred IS NULL AND i.indisvalid) AS indexed
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN unnest($3::text[]) WITH ORDINALITY AS w(name, place)
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1 AND c.relname = $2
ORDER BY w.place
