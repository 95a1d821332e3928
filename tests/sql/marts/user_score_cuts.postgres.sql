-- The mart user_score_cuts once more: who is worse is counted for each value.
WITH measured AS (
    SELECT
        user_id,
        (date '{today}' - max(activity_on))::bigint AS recency,
        count(*) FILTER (WHERE activity_on BETWEEN date '{today}' - 27 AND date '{today}') AS frequency,
        coalesce(sum(action_count) FILTER (WHERE activity_on BETWEEN date '{today}' - 27 AND date '{today}'), 0)::bigint
            AS engagement
    FROM [[user_activity_daily]] AS days
    GROUP BY user_id
),
good AS (
    SELECT axis, value, CASE axis WHEN 'recency' THEN -value ELSE value END AS goodness
    FROM measured
    CROSS JOIN LATERAL (
        VALUES ('recency', recency), ('frequency', frequency), ('engagement', engagement)
    ) AS axes (axis, value)
)
SELECT
    axis,
    value,
    count(*) AS user_count,
    (SELECT count(*) FROM good g WHERE g.axis = good.axis AND g.goodness < good.goodness) AS worse_user_count,
    -- who is worse counts whole, and who is as good by a half
    1 + floor(
        5.0 * (SELECT sum(CASE WHEN g.goodness < good.goodness THEN 1 ELSE 0.5 END) FROM good g
               WHERE g.axis = good.axis AND g.goodness <= good.goodness)
        / (SELECT count(*) FROM measured)
    )::bigint AS score
FROM good
GROUP BY axis, value, goodness
