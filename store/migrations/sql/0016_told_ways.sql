-- One household's route on request and the routes of those who are warned, over plans of 100,000 households; and with
-- each message the way that it carried, which stays when the plan is made again.
SET LOCAL lock_timeout = '5s';

CREATE INDEX household_route_household ON household_route (household_id);

ALTER TABLE delivery ADD COLUMN shown jsonb;  -- the way out as it was told: plan, footprint version, status, leave-by, zone, roads
