-- The table that scripts/bench_export.sh exports from: events by month, one of them two years old with `rows` rows, the
-- current one with a tenth of that.

CREATE TABLE events (
    id bigint NOT NULL,
    at timestamptz NOT NULL,
    what text NOT NULL,
    who uuid,
    details jsonb,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);

SELECT format(
    'CREATE TABLE %I PARTITION OF events FOR VALUES FROM (%L) TO (%L)', name,
    date_trunc('month', now()) + months * interval '1 month', date_trunc('month', now()) + (months + 1) * interval '1 month')
FROM (VALUES ('events_old', -24), ('events_now', 0), ('events_next', 1)) AS t (name, months) \gexec

INSERT INTO events
SELECT n, date_trunc('month', now()) - interval '24 months' + n * interval '27 days' / :rows, 'request ' || n || ' was answered',
    md5('user' || n % 1000)::uuid, jsonb_build_object('took_ms', n % 977, 'path', '/items/' || n % 5000, 'cached', n % 3 = 0)
FROM generate_series(1, :rows) AS n;
INSERT INTO events
SELECT n, date_trunc('month', now()) + n % 600000 * interval '1 second', 'request ' || n || ' was answered', NULL, NULL
FROM generate_series(:rows + 1, :rows + :rows / 10) AS n;
CREATE INDEX ON events (at);
VACUUM (FREEZE, ANALYZE) events;
