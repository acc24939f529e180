-- A household whose way out changed is told again under the same version of its warning.

SET LOCAL lock_timeout = '5s';

-- 0: the version itself; 1, 2, ...: told again because the way out changed.
ALTER TABLE delivery
    ADD COLUMN revision integer NOT NULL DEFAULT 0 CHECK (revision >= 0),
    ADD COLUMN composed_at timestamptz;            -- when what it says was last read, scenario time; none: not yet
ALTER TABLE delivery DROP CONSTRAINT delivery_warning_id_version_policyholder_id_channel_key;
ALTER TABLE delivery ADD CONSTRAINT delivery_one_of_each UNIQUE (warning_id, version, policyholder_id, channel, revision);

-- When this row was found to differ from what the household was told; none: it does not differ.
ALTER TABLE household_route ADD COLUMN changed_at timestamptz;
