-- Columns and keys of the tables of readings, the same on both engines. The engine's own file copies these shapes.

CREATE TABLE observation_shape (
    datastream_id bigint NOT NULL,
    observed_at   timestamptz NOT NULL,
    value         double precision,          -- in the unit of the datastream; none: the device said it has none
    quality       smallint NOT NULL CHECK (quality IN (1, 2, 3, 4, 9)),  -- QARTOD: pass, not evaluated, suspect, fail, missing
    tests         integer NOT NULL,          -- which tests said so: see ingest/quality.py
    received_at   timestamptz NOT NULL,
    PRIMARY KEY (datastream_id, observed_at)
);

-- Corrections of the value and final flags are new rows; nothing is overwritten.
CREATE TABLE observation_revision_shape (
    datastream_id bigint NOT NULL,
    observed_at   timestamptz NOT NULL,
    revision      smallint NOT NULL CHECK (revision >= 0),       -- counts corrections of the value; 0: as first sent
    flags_version smallint NOT NULL CHECK (flags_version >= 0),  -- counts final flags of that revision
    value         double precision,
    quality       smallint NOT NULL CHECK (quality IN (1, 2, 3, 4, 9)),
    tests         integer NOT NULL,
    received_at   timestamptz NOT NULL,
    PRIMARY KEY (datastream_id, observed_at, revision, flags_version)
);

-- Hours that must be computed anew: one row a batch, written in the batch's own transaction (store.rollup.mark_dirty).
CREATE TABLE rollup_dirty (
    dirty_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    datastream_ids bigint[] NOT NULL,
    hours          timestamptz[] NOT NULL,
    CHECK (cardinality(datastream_ids) = cardinality(hours))
);

-- Hourly rollup from current readings. On plain PostgreSQL every hour; on TimescaleDB the hours that hold a revision,
-- which a continuous aggregate over first readings cannot know.
CREATE TABLE observation_rollup_hour (
    datastream_id bigint NOT NULL,
    hour          timestamptz NOT NULL,
    n             bigint NOT NULL,           -- readings
    n_suspect     bigint NOT NULL,           -- of them quality 3
    n_failed      bigint NOT NULL,           -- quality 4
    n_missing     bigint NOT NULL,           -- without a value
    n_used        bigint NOT NULL,           -- with a value and quality 1, 2 or 3: what the next three are made of
    lowest        double precision,
    highest       double precision,
    total         double precision,
    PRIMARY KEY (datastream_id, hour)
);
