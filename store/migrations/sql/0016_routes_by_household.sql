-- One household's route on request, and the routes of those who are warned, over plans of 100,000 households.
SET LOCAL lock_timeout = '5s';

CREATE INDEX household_route_household ON household_route (household_id);
