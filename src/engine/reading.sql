-- What a `health` job has read last, for all daemons: one row a job. By itself, because it came after the others: it is made
-- where they are there already.
CREATE TABLE IF NOT EXISTS pgtend.reading (
    job      text        PRIMARY KEY,
    taken_at timestamptz NOT NULL,
    gauges   jsonb       NOT NULL
);
COMMENT ON TABLE pgtend.reading IS 'What each health job has read last: name, label and value of its gauges';
