-- The database that scripts/bench_backup.sh dumps. First lines of a log, `rows` of them, about 300 bytes each in a dump, and as
-- hard to pack as such lines are: the same words again and again, and in between numbers and ids that nobody foresees.

CREATE TABLE log_lines (
    id bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    level text NOT NULL,
    service text NOT NULL,
    host text NOT NULL,
    trace uuid NOT NULL,
    message text NOT NULL,
    context jsonb
);

INSERT INTO log_lines
SELECT n, timestamptz '2026-01-01 00:00Z' + n * interval '7.3 ms' + random() * interval '5 ms',
    (ARRAY['info', 'info', 'info', 'debug', 'warning', 'error'])[1 + floor(random() * 6)::int],
    (ARRAY['gateway', 'accounts', 'billing', 'search', 'worker'])[1 + floor(random() * 5)::int],
    'node-' || floor(random() * 40)::int, gen_random_uuid(),
    (ARRAY['request completed', 'cache miss, falling back to the database', 'connection reset by peer while reading the response',
           'job was picked up', 'retrying after a timeout'])[1 + floor(random() * 5)::int]
        || ' in ' || round((random() * 900)::numeric, 3) || ' ms, user ' || floor(random() * 100000)::int,
    jsonb_build_object('path', '/api/v1/items/' || floor(random() * 1000000)::int, 'status', 200 + n % 5, 'bytes', floor(random() * 65536)::int,
        'agent', 'Mozilla/5.0 (X11; Linux x86_64)')
FROM generate_series(1, :rows) AS n;

-- Then `many` pieces of a mebibyte each, and `few`: kilobytes on the server's disk, and all of a mebibyte in a dump.
CREATE SCHEMA pieces;
CREATE TABLE pieces.many AS SELECT repeat(md5(n::text), 32768) AS piece FROM generate_series(1, :many) AS n;
CREATE TABLE pieces.few AS SELECT piece FROM pieces.many LIMIT :few;

VACUUM ANALYZE;
