-- What came after the other tables, and is made where those are there already.

-- What a `health` job has read last, for all daemons: one row a job.
CREATE TABLE IF NOT EXISTS pgtend.reading (
    job      text        PRIMARY KEY,
    taken_at timestamptz NOT NULL,
    gauges   jsonb       NOT NULL
);
COMMENT ON TABLE pgtend.reading IS 'What each health job has read last: name, label and value of its gauges';

CREATE TABLE IF NOT EXISTS pgtend.notice (
    job     text        PRIMARY KEY,
    state   text        NOT NULL,
    told_at timestamptz NOT NULL
);
COMMENT ON TABLE pgtend.notice IS 'What was last told of each job by [notify]';
