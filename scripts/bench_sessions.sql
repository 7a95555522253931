-- The table that scripts/bench.sh deletes from: sessions like those of tests/fixtures/lukhas.sql, without what refers to
-- them and without its second index on token. `rows` of them, the first half of which by number has expired; on disk
-- they lie in an order that has nothing to do with that.

CREATE TABLE sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lambda_id varchar(255),
    token text NOT NULL,
    expires_at timestamptz NOT NULL,
    device_info jsonb,
    created_at timestamptz DEFAULT now()
);

-- A token is the digest of its number, so that the load can ask for one that there is.
INSERT INTO sessions (id, lambda_id, token, expires_at, device_info, created_at)
SELECT md5('session' || n)::uuid, 'user-' || n % 200000, encode(sha256(int8send(n)), 'hex'), expires_at,
    jsonb_build_object('agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/' || n % 140,
        'ip', format('10.%s.%s.%s', n % 250, n / 250 % 250, n / 62500), 'locale', 'pt-PT'),
    expires_at - interval '30 days'
FROM (
    SELECT n, CASE WHEN n <= :rows / 2 THEN now() - interval '1 day' - 29 * draw ELSE now() + interval '1 day' + 29 * draw END
        AS expires_at
    FROM (SELECT n, interval '1 day' * (abs(hashint8(n)::bigint) / 2147483648.0) AS draw
        FROM generate_series(1, :rows::bigint) AS n) AS numbered
    ORDER BY hashint8(n + 1)
) AS shuffled;

ALTER TABLE sessions ADD UNIQUE (token);
CREATE INDEX ON sessions (lambda_id);
CREATE INDEX ON sessions (expires_at);
VACUUM (FREEZE, ANALYZE) sessions;
