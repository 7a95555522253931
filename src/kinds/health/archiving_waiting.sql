-- What is ready to be archived. A command that is missing is never counted as failed: only the age of the oldest file tells.
SELECT count(*) AS segments,
       extract(epoch FROM clock_timestamp() - min(f.modification))::float8 AS oldest
FROM pg_catalog.pg_ls_archive_statusdir() f
WHERE f.name LIKE '%.ready'
