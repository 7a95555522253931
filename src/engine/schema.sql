-- What pgtend keeps in each database it tends: its runs, the tables it must leave alone, and the requests it was sent.
-- Made by `daemon` and `run` where it is missing; every statement may be repeated.

-- Not CREATE SCHEMA IF NOT EXISTS: that asks for CREATE on the database even where the schema is there already, made by
-- an administrator for a role that may do no more than it needs.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'pgtend') THEN
        CREATE SCHEMA pgtend;
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS pgtend.run (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job         text        NOT NULL,
    kind        text        NOT NULL,
    trigger     text        NOT NULL,
    host        text        NOT NULL,
    pid         integer     NOT NULL,
    attempt     integer     NOT NULL DEFAULT 1,
    due_at      timestamptz,
    request_id  uuid,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    outcome     text,
    error       text,
    details     jsonb       NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE pgtend.run IS 'Runs of pgtend''s jobs; one in progress has no finished_at';

-- The guard of "one run for a due time, whichever daemon it is".
CREATE UNIQUE INDEX IF NOT EXISTS run_due_once ON pgtend.run (job, due_at, attempt) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS run_request_once ON pgtend.run (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS run_job_started ON pgtend.run (job, started_at DESC);
CREATE INDEX IF NOT EXISTS run_job_succeeded ON pgtend.run (job, started_at DESC) WHERE outcome = 'succeeded';
-- BRIN, for pruning alone: by a btree the planner would look for a job's newest run among the runs of all jobs.
CREATE INDEX IF NOT EXISTS run_started ON pgtend.run USING brin (started_at);
CREATE INDEX IF NOT EXISTS run_open ON pgtend.run (job) WHERE finished_at IS NULL;

CREATE TABLE IF NOT EXISTS pgtend.hold (
    relation text        NOT NULL,
    reason   text        NOT NULL,
    until    timestamptz
);
COMMENT ON TABLE pgtend.hold IS 'Tables and partitions that retention leaves alone; until NULL is for ever';

CREATE TABLE IF NOT EXISTS pgtend.anchor (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation   text        NOT NULL,
    partition  text        NOT NULL,
    bounds     text        NOT NULL,
    rows       bigint      NOT NULL,
    last       jsonb,
    dropped_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE pgtend.anchor IS 'Partitions of immutable tables that were dropped: how many rows each had, and its last row';

CREATE TABLE IF NOT EXISTS pgtend.request (
    id           uuid        PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    job          text        NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    requested_by text        NOT NULL DEFAULT CURRENT_USER,
    taken_at     timestamptz,
    taken_by     text,
    finished_at  timestamptz,
    outcome      text,
    skipped      text,
    error        text
);
COMMENT ON TABLE pgtend.request IS 'Runs asked for with pgtend trigger, and which daemon took them';
CREATE INDEX IF NOT EXISTS request_age ON pgtend.request (requested_at);
CREATE INDEX IF NOT EXISTS request_open ON pgtend.request (requested_at) WHERE taken_at IS NULL;
