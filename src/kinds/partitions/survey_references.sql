-- Which of the tables $1 refers to which other of them by foreign key.
SELECT DISTINCT f.conrelid, f.confrelid
FROM pg_catalog.pg_constraint f
WHERE f.contype = 'f' AND f.conrelid = ANY ($1::oid[]) AND f.confrelid = ANY ($1::oid[]) AND f.conrelid <> f.confrelid
ORDER BY 1, 2
