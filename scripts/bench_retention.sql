-- The table that scripts/bench_retention.sh lets go of: the error_log of tests/fixtures/helix.sql, without what it refers
-- to, and its summary. `rows` of them in an order that has nothing to do with their time: nine of ten are 100 to 1000 days
-- old, one is 0 to 80; none is near 90, where it would matter when it is asked.

CREATE TABLE error_log (
    id bigserial PRIMARY KEY,
    code integer NOT NULL,
    category varchar(50) NOT NULL,
    message text NOT NULL,
    technical_detail text,
    context jsonb,
    project_id uuid,
    agent_id varchar(100),
    task_id varchar(100),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE error_log_summary (
    id serial PRIMARY KEY,
    date date NOT NULL,
    category varchar(50) NOT NULL,
    code integer NOT NULL,
    count integer NOT NULL DEFAULT 0,
    UNIQUE (date, category, code)
);
CREATE INDEX ON error_log_summary (date);

INSERT INTO error_log (code, category, message, technical_detail, context, project_id, agent_id, task_id, created_at)
SELECT 1000 + n % 8, (ARRAY['network', 'model', 'tool', 'database'])[1 + n / 8 % 4], 'request ' || n || ' was refused: connection reset by peer',
    CASE WHEN n % 3 = 0 THEN 'Traceback (most recent call last): ' || md5('trace' || n) END, jsonb_build_object('attempt', n % 5, 'model', 'large'),
    md5('project' || n % 1000)::uuid, 'agent-' || n % 50, 'task-' || n % 100000,
    now() - interval '1 day' * CASE WHEN n % 10 = 0 THEN 80 * draw ELSE 100 + 900 * draw END
FROM (SELECT n, abs(hashint8(n)::bigint) / 2147483648.0 AS draw FROM generate_series(1, :rows::bigint) AS n) AS numbered;

CREATE INDEX ON error_log (code);
CREATE INDEX ON error_log (category);
CREATE INDEX ON error_log (project_id);
CREATE INDEX error_log_created_at_idx ON error_log (created_at);
VACUUM (FREEZE, ANALYZE) error_log;
