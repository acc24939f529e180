-- name: save_portfolio_file
INSERT INTO portfolio_file (tenant_id, portfolio_id, kind, name, content)
VALUES (%(tenant_id)s, %(portfolio_id)s, %(kind)s, %(name)s, %(content)s)
ON CONFLICT (portfolio_id, kind) DO UPDATE SET name = excluded.name, content = excluded.content;

-- name: remove_portfolio_files
-- A book that is imported anew has no file of the book before.
DELETE FROM portfolio_file WHERE portfolio_id = %(portfolio_id)s AND NOT kind = ANY(%(kinds)s);

-- name: portfolio_files
SELECT kind, name, content FROM portfolio_file WHERE portfolio_id = %(portfolio_id)s;

-- name: book_places
SELECT location_id, acc_number, loc_number, lon, lat FROM location WHERE portfolio_id = %(portfolio_id)s;

-- name: assessed
-- What an assessment is of, for its loss.
SELECT a.assessment_id, a.tenant_id, a.portfolio_id, a.exposed_tiv::float8, f.footprint_id, f.version, f.field, f.field_grid,
       e.hazard_event_id, e.code, e.peril, e.started_at, f.valid_at
FROM assessment AS a
JOIN footprint AS f ON f.footprint_id = a.footprint_id
JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
WHERE a.assessment_id = %(assessment_id)s;

-- name: loss_before
-- The newest loss of an earlier version of the same event against the same book.
SELECT f.version, a.exposed_tiv::float8, l.currency, l.problem, l.result -> 'losses'
FROM assessment_loss AS l
JOIN assessment AS a ON a.assessment_id = l.assessment_id
JOIN footprint AS f ON f.footprint_id = a.footprint_id
WHERE f.hazard_event_id = %(hazard_event_id)s AND a.portfolio_id = %(portfolio_id)s AND f.version < %(version)s
ORDER BY f.version DESC LIMIT 1;

-- name: loss_without_sources
-- A known loss of the newest footprint version whose parts by source of uncertainty are not computed.
SELECT l.result -> 'assumptions'
FROM assessment_loss AS l
JOIN assessment AS a ON a.assessment_id = l.assessment_id
JOIN footprint AS f ON f.footprint_id = a.footprint_id
WHERE l.assessment_id = %(assessment_id)s AND l.problem = '' AND l.result -> 'sd_by_source' = 'null'::jsonb
    AND NOT EXISTS (
        SELECT FROM footprint AS g WHERE g.hazard_event_id = f.hazard_event_id AND g.version > f.version
    );

-- name: save_loss
INSERT INTO assessment_loss (assessment_id, tenant_id, currency, problem, mean_gul, mean_il, mean_ri, result, computed_at)
VALUES (%(assessment_id)s, %(tenant_id)s, %(currency)s, %(problem)s, %(mean_gul)s, %(mean_il)s, %(mean_ri)s, %(result)s,
    %(computed_at)s)
ON CONFLICT (assessment_id) DO UPDATE SET currency = excluded.currency, problem = excluded.problem,
    mean_gul = excluded.mean_gul, mean_il = excluded.mean_il, mean_ri = excluded.mean_ri, result = excluded.result,
    computed_at = excluded.computed_at;

-- name: remove_location_losses
DELETE FROM assessment_location_loss WHERE assessment_id = %(assessment_id)s;

-- name: save_location_losses
INSERT INTO assessment_location_loss (assessment_id, tenant_id, location_id, rank, sampled, intensity, mean_gul, mean_il, mean_ri)
SELECT %(assessment_id)s, %(tenant_id)s, location_id, rank, sampled, intensity, gul, il, ri
FROM unnest(%(location_ids)s::bigint[], %(ranks)s::integer[], %(sampled)s::boolean[], %(intensity)s::float8[],
    %(gul)s::float8[], %(il)s::float8[], %(ri)s::float8[]) AS l (location_id, rank, sampled, intensity, gul, il, ri);

-- name: remove_policy_losses
DELETE FROM assessment_policy WHERE assessment_id = %(assessment_id)s;

-- name: save_policy_loss
INSERT INTO assessment_policy (assessment_id, tenant_id, rank, acc_number, pol_number, layer_number, mean_gross, sd_gross,
    mean_net, chance)
VALUES (%(assessment_id)s, %(tenant_id)s, %(rank)s, %(acc_number)s, %(pol_number)s, %(layer_number)s, %(mean_gross)s,
    %(sd_gross)s, %(mean_net)s, %(chance)s);

-- name: footprint_of_version
-- A version of an event, or the newest.
SELECT f.footprint_id, f.version FROM footprint AS f JOIN hazard_event AS e USING (hazard_event_id)
WHERE e.code = %(code)s AND (e.tenant_id = %(tenant_id)s OR e.tenant_id IS NULL)
    AND (%(version)s::integer IS NULL OR f.version = %(version)s)
ORDER BY e.tenant_id NULLS LAST, f.version DESC LIMIT 1;

-- name: assessment_of
SELECT assessment_id FROM assessment WHERE footprint_id = %(footprint_id)s AND portfolio_id = %(portfolio_id)s;

-- name: reports_of
-- Depths that this tenant's people told of their homes while the event lasted, until the footprint's time: of each person and
-- warning the newest, the newest of all first. A day back at most: older water is another state.
SELECT lon, lat, value, error, floor_m, floor_error_m, weight FROM (
    SELECT DISTINCT ON (policyholder_id, warning_id) * FROM reported_observation
    WHERE tenant_id = %(tenant_id)s AND observed_at <= %(until)s AND observed_at >= greatest(%(since)s, %(until)s - interval '1 day')
    ORDER BY policyholder_id, warning_id, revision DESC
) AS newest
ORDER BY observed_at DESC, answer_id LIMIT %(limit)s;
