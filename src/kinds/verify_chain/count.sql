-- How many rows there are, how many without a hash, and the first and the last.
SELECT count(*), count(*) - count({hash}),
       (SELECT {order}::text FROM {table} ORDER BY {order} LIMIT 1),
       (SELECT {order}::text FROM {table} ORDER BY {order} DESC NULLS LAST LIMIT 1)
FROM {table}
