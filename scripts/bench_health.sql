-- As many small tables as :tables, each with a key, a second index, TOAST and some rows.
SELECT format('CREATE TABLE t_%s (id int PRIMARY KEY, at timestamptz, doc text)', n),
       format('CREATE INDEX ON t_%s (at)', n),
       format('INSERT INTO t_%s SELECT m, now(), %L FROM generate_series(1, 20) m', n, 'something')
FROM generate_series(1, :tables) n
\gexec
ANALYZE;
CREATE VIEW table_sizes AS
    SELECT schemaname, tablename,
           pg_size_pretty(pg_total_relation_size(schemaname || '.' || tablename)) AS total,
           pg_size_pretty(pg_relation_size(schemaname || '.' || tablename)) AS heap,
           pg_size_pretty(pg_total_relation_size(schemaname || '.' || tablename)
                          - pg_relation_size(schemaname || '.' || tablename)) AS difference
    FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY pg_total_relation_size(schemaname || '.' || tablename) DESC;
