-- What the table $1 is now.
SELECT n.nspname::text AS schema,
       c.relname::text AS name,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       i.inhparent AS parent,
       -- By way of JSON because PostgreSQL 13 has no such column.
       coalesce((to_jsonb(i) ->> 'inhdetachpending')::boolean, false) AS pending,
       coalesce(pg_catalog.pg_get_expr(c.relpartbound, 0), '') AS bound,
       pg_catalog.obj_description(c.oid, 'pg_class') AS comment
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
WHERE c.oid = $1
