-- The tables events_1 to events_:count, partitioned by month from :behind months ago to :ahead months from now, named as
-- pg_partman would, which knows its partitions by that, and does nothing for a table without rows: hence one in each. A
-- transaction each, because of the locks.
SET synchronous_commit = off;
SELECT format(
           'BEGIN; CREATE TABLE events_%s (id bigint, at timestamptz NOT NULL DEFAULT now(), what text, PRIMARY KEY (id, at)) '
           'PARTITION BY RANGE (at); %s; INSERT INTO events_%s (id) VALUES (0); COMMIT;',
           n, string_agg(
               format('CREATE TABLE events_%s_p%s PARTITION OF events_%s FOR VALUES FROM (%L) TO (%L)',
                      n, to_char(month, 'YYYY_MM'), n, month, month + interval '1 month'), '; '), n)
FROM generate_series(1, :count) n,
     generate_series(date_trunc('month', now()) - interval '1 month' * :behind,
                     date_trunc('month', now()) + interval '1 month' * :ahead, interval '1 month') month
GROUP BY n
\gexec
