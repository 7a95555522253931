-- For the same: rows that name no predecessor; the first may.
SELECT t.{order}::text, count(*) OVER ()
FROM {table} AS t
WHERE t.{previous} IS NULL
ORDER BY t.{order}
LIMIT 11
