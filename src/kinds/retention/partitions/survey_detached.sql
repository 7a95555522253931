-- Tables whose comment begins with $1 and that are attached to nothing.
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind, pg_catalog.pg_get_userbyid(c.relowner)::text, d.description
FROM pg_catalog.pg_description d
JOIN pg_catalog.pg_class c ON c.oid = d.objoid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE d.classoid = 'pg_catalog.pg_class'::regclass
  AND d.objsubid = 0
  AND starts_with(d.description, $1)
  AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
ORDER BY 2, 3
