-- The constraints of table $1 that hold for its rows alone: primary key, unique, check.
SELECT pg_catalog.format('CONSTRAINT %I %s', conname, pg_catalog.pg_get_constraintdef(oid))
FROM pg_catalog.pg_constraint
WHERE conrelid = $1 AND contype IN ('p', 'u', 'c')
ORDER BY contype = 'c', conname
