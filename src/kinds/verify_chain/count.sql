-- How many rows there are, how many without a hash, and the first and the last.
SELECT count(*), count(*) - count({hash}),
       -- By the column of the table, and not by the text of the same name that is selected.
       (SELECT t.{order}::text FROM {table} AS t ORDER BY t.{order} LIMIT 1),
       (SELECT t.{order}::text FROM {table} AS t ORDER BY t.{order} DESC NULLS LAST LIMIT 1)
FROM {table}
