-- name: seats_of_safe_zones
SELECT safe_zone_id, lon, lat, seats, accessible_seats FROM safe_zone
WHERE tenant_id = %(tenant_id)s OR tenant_id IS NULL ORDER BY code, safe_zone_id;

-- name: arrivals
-- Who said that they are safe at a safe zone, by the last thing each person said in three days; of every tenant,
-- because a public safe zone has the same seats for all.
WITH said AS (
    SELECT DISTINCT ON (policyholder_id) policyholder_id, kind, detail FROM answer
    WHERE answered_at > %(now)s - interval '3 days' ORDER BY policyholder_id, answered_at DESC, answer_id DESC
)
SELECT h.household_id, z.safe_zone_id,
       CASE WHEN s.detail ->> 'people' ~ '^[0-9]{1,3}$' THEN (s.detail ->> 'people')::integer ELSE coalesce(h.people, 1) END AS people,
       coalesce(h.needs && ARRAY['accessible', 'wheelchair', 'medical'], false) AS accessible
FROM said AS s
JOIN safe_zone AS z ON z.safe_zone_id::text = s.detail ->> 'safe_zone_id'
LEFT JOIN household AS h ON h.policyholder_id = s.policyholder_id
WHERE s.kind = 'safe';

-- name: others_at_zone
-- Other tenants with households, where this answer tells of an arrival at a public safe zone.
SELECT DISTINCT h.tenant_id
FROM answer AS a
JOIN safe_zone AS z ON z.safe_zone_id::text = a.detail ->> 'safe_zone_id' AND z.tenant_id IS NULL
JOIN household AS h ON h.tenant_id <> a.tenant_id
WHERE a.answer_id = %(answer_id)s AND a.kind = 'safe'
ORDER BY h.tenant_id;

-- name: overfull
-- Whether arrivals took seats that a tenant's newest plan still promises to others: then it is to be made again.
WITH said AS (
    SELECT DISTINCT ON (policyholder_id) policyholder_id, kind, detail FROM answer
    WHERE answered_at > %(now)s - interval '3 days' ORDER BY policyholder_id, answered_at DESC, answer_id DESC
), arrived AS (
    SELECT s.detail ->> 'safe_zone_id' AS safe_zone_id, coalesce(h.needs && ARRAY['accessible', 'wheelchair', 'medical'], false) AS accessible,
           sum(CASE WHEN s.detail ->> 'people' ~ '^[0-9]{1,3}$' THEN (s.detail ->> 'people')::integer ELSE coalesce(h.people, 1) END) AS n
    FROM said AS s LEFT JOIN household AS h ON h.policyholder_id = s.policyholder_id
    WHERE s.kind = 'safe' AND s.detail ? 'safe_zone_id' GROUP BY 1, 2
), newest AS (
    SELECT p.evacuation_plan_id FROM evacuation_plan AS p
    JOIN footprint AS f ON f.footprint_id = p.footprint_id
    JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
    WHERE p.tenant_id = %(tenant_id)s AND (e.ended_at IS NULL OR e.ended_at > %(now)s)
    ORDER BY p.computed_at DESC, f.version DESC LIMIT 1
), waiting AS (
    SELECT r.safe_zone_id, h.needs && ARRAY['accessible', 'wheelchair', 'medical'] AS accessible, sum(h.people) AS n
    FROM household_route AS r
    JOIN newest ON newest.evacuation_plan_id = r.evacuation_plan_id
    JOIN household AS h ON h.household_id = r.household_id
    WHERE r.safe_zone_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM said AS s
                      WHERE s.policyholder_id = h.policyholder_id AND s.kind = 'safe' AND s.detail ? 'safe_zone_id')
    GROUP BY 1, 2
)
SELECT EXISTS (
    SELECT FROM safe_zone AS z
    JOIN arrived AS a ON a.safe_zone_id = z.safe_zone_id::text
    JOIN waiting AS w ON w.safe_zone_id = z.safe_zone_id AND w.accessible = a.accessible
    WHERE z.seats > 0 AND w.n > 0
      AND a.n + w.n > CASE WHEN a.accessible THEN z.accessible_seats ELSE z.seats - z.accessible_seats END
);
