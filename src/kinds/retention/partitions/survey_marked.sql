-- The partitions of the tables $2 whose comment begins with $1.
SELECT i.inhrelid
FROM pg_catalog.pg_description d
JOIN pg_catalog.pg_inherits i ON i.inhrelid = d.objoid AND i.inhparent = ANY ($2::oid[])
WHERE d.classoid = 'pg_catalog.pg_class'::regclass AND d.objsubid = 0 AND starts_with(d.description, $1)
