-- name: tenant_of_slug
SELECT tenant_id FROM tenant WHERE slug = %(slug)s;

-- name: make_location_import
-- Which locations the file has that is being imported: what a book holds beside them goes.
CREATE TEMP TABLE location_import (acc_number text, loc_number text) ON COMMIT DROP;

-- name: make_location_chunk
-- Rows of the chunk in hand, emptied after each, so that no chunk is looked for among the others.
CREATE TEMP TABLE location_chunk (
    acc_number text, loc_number text, lon float8, lat float8, h3 bigint, country_code text, occupancy_code integer,
    construction_code integer, building_tiv numeric, other_tiv numeric, contents_tiv numeric, bi_tiv numeric,
    currency text, perils text, oed jsonb
) ON COMMIT DROP;

-- name: copy_location_chunk
COPY location_chunk (acc_number, loc_number, lon, lat, h3, country_code, occupancy_code, construction_code,
    building_tiv, other_tiv, contents_tiv, bi_tiv, currency, perils, oed) FROM STDIN (FORMAT csv);

-- name: make_policy_import
CREATE TEMP TABLE policy_import (
    policy_id uuid, acc_number text, pol_number text, perils text, inception date, expiry date
) ON COMMIT DROP;

-- name: copy_policy_import
COPY policy_import (policy_id, acc_number, pol_number, perils, inception, expiry) FROM STDIN;

-- name: analyze_location_import
ANALYZE location_import;

-- name: lock_portfolio
SELECT portfolio_id, source_sha256 FROM portfolio WHERE tenant_id = %(tenant_id)s AND name = %(name)s FOR UPDATE;

-- name: make_portfolio
-- A place for the rows of a new book; `save_portfolio` completes it.
INSERT INTO portfolio (portfolio_id, tenant_id, name, currency, source_sha256, imported_at)
VALUES (%(portfolio_id)s, %(tenant_id)s, %(name)s, 'XXX', '', clock_timestamp()) ON CONFLICT (tenant_id, name) DO NOTHING;

-- name: save_portfolio
INSERT INTO portfolio (portfolio_id, tenant_id, name, currency, source_sha256, imported_at, flood_curves)
VALUES (%(portfolio_id)s, %(tenant_id)s, %(name)s, %(currency)s, %(source_sha256)s, clock_timestamp(), %(flood_curves)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET currency = excluded.currency, source_sha256 = excluded.source_sha256,
    imported_at = excluded.imported_at, flood_curves = excluded.flood_curves;

-- name: save_locations
-- One chunk of the file. A location that was there before keeps its id, so that what hangs on it stays, and one that
-- did not change is left alone.
INSERT INTO location AS l (tenant_id, portfolio_id, acc_number, loc_number, lon, lat, h3, country_code, occupancy_code,
    construction_code, building_tiv, other_tiv, contents_tiv, bi_tiv, currency, loc_perils_covered, oed)
SELECT %(tenant_id)s, %(portfolio_id)s, acc_number, loc_number, lon, lat, h3, country_code, occupancy_code,
    construction_code, building_tiv, other_tiv, contents_tiv, bi_tiv, currency, perils, oed
FROM location_chunk
ON CONFLICT (portfolio_id, acc_number, loc_number) DO UPDATE SET lon = excluded.lon, lat = excluded.lat, h3 = excluded.h3,
    country_code = excluded.country_code, occupancy_code = excluded.occupancy_code,
    construction_code = excluded.construction_code, building_tiv = excluded.building_tiv, other_tiv = excluded.other_tiv,
    contents_tiv = excluded.contents_tiv, bi_tiv = excluded.bi_tiv, currency = excluded.currency,
    loc_perils_covered = excluded.loc_perils_covered, oed = excluded.oed
WHERE (l.lon, l.lat, l.h3, l.country_code, l.occupancy_code, l.construction_code, l.building_tiv, l.other_tiv,
    l.contents_tiv, l.bi_tiv, l.currency, l.loc_perils_covered, l.oed)
    IS DISTINCT FROM (excluded.lon, excluded.lat, excluded.h3, excluded.country_code, excluded.occupancy_code,
    excluded.construction_code, excluded.building_tiv, excluded.other_tiv, excluded.contents_tiv, excluded.bi_tiv,
    excluded.currency, excluded.loc_perils_covered, excluded.oed);

-- name: note_chunk
INSERT INTO location_import SELECT acc_number, loc_number FROM location_chunk;

-- name: empty_chunk
TRUNCATE location_chunk;

-- name: remove_absent_locations
DELETE FROM location AS l WHERE l.portfolio_id = %(portfolio_id)s
    AND NOT EXISTS (SELECT FROM location_import AS i WHERE i.acc_number = l.acc_number AND i.loc_number = l.loc_number);

-- name: save_policies
INSERT INTO policy (policy_id, tenant_id, portfolio_id, acc_number, pol_number, perils_covered, inception, expiry)
SELECT policy_id, %(tenant_id)s, %(portfolio_id)s, acc_number, pol_number, perils, inception, expiry FROM policy_import
ON CONFLICT (portfolio_id, acc_number, pol_number) DO UPDATE SET perils_covered = excluded.perils_covered,
    inception = excluded.inception, expiry = excluded.expiry;

-- name: remove_absent_policies
DELETE FROM policy AS p WHERE p.portfolio_id = %(portfolio_id)s
    AND NOT EXISTS (SELECT FROM policy_import AS i WHERE i.acc_number = p.acc_number AND i.pol_number = p.pol_number);

-- name: stored_tiv
-- What stands in the book now, for the reconciliation: whether placed, currency, locations, hundredths.
SELECT lon IS NOT NULL, currency, count(*), (sum(building_tiv + other_tiv + contents_tiv + bi_tiv) * 100)::numeric(40, 0)
FROM location WHERE portfolio_id = %(portfolio_id)s GROUP BY 1, 2;

-- name: portfolios
-- Of one tenant, or of all.
SELECT portfolio_id, tenant_id, name, currency, source_sha256, imported_at, flood_curves FROM portfolio
WHERE %(tenant_id)s::uuid IS NULL OR tenant_id = %(tenant_id)s ORDER BY portfolio_id;

-- name: book_accounts
-- Accounts of a book in the order that `book_rows` numbers them, each with its policies.
SELECT l.acc_number, count(DISTINCT p.policy_id)
FROM (SELECT DISTINCT acc_number FROM location WHERE portfolio_id = %(portfolio_id)s) AS l
LEFT JOIN policy AS p ON p.portfolio_id = %(portfolio_id)s AND p.acc_number = l.acc_number
GROUP BY l.acc_number ORDER BY l.acc_number COLLATE "C";

-- name: book_rows
SELECT location_id, lon, lat, (dense_rank() OVER (ORDER BY acc_number COLLATE "C") - 1)::integer,
    currency, (building_tiv * 100)::bigint, (other_tiv * 100)::bigint, (contents_tiv * 100)::bigint, (bi_tiv * 100)::bigint
FROM location WHERE portfolio_id = %(portfolio_id)s;

-- name: locations_of_accounts
SELECT acc_number, loc_number, location_id FROM location WHERE portfolio_id = %(portfolio_id)s AND acc_number = ANY(%(accounts)s);

-- name: policies_of_accounts
SELECT DISTINCT ON (acc_number) acc_number, policy_id FROM policy
WHERE portfolio_id = %(portfolio_id)s AND acc_number = ANY(%(accounts)s) ORDER BY acc_number, pol_number;
