-- The mart user_lifecycle_weekly once more: each user's weeks are held against the week before and the first of all.
WITH active AS (
    SELECT DISTINCT user_id, activity_on - (extract(isodow FROM activity_on)::int - 1) AS week_on
    FROM [[user_activity_daily]] AS days
),
week AS (
    SELECT generate_series(min(week_on)::timestamp, timestamp '{today}', '7 days')::date AS week_on FROM active
    UNION
    SELECT week_on FROM active
),
told AS (
    SELECT
        week_on,
        CASE
            WHEN week_on = (SELECT min(week_on) FROM active a WHERE a.user_id = active.user_id) THEN 'new'
            WHEN EXISTS (SELECT 1 FROM active a WHERE a.user_id = active.user_id AND a.week_on = active.week_on - 7)
                THEN 'returning'
            ELSE 'resurrecting'
        END AS status
    FROM active
    UNION ALL
    SELECT week_on + 7, 'dormant' FROM active
    WHERE NOT EXISTS (SELECT 1 FROM active a WHERE a.user_id = active.user_id AND a.week_on = active.week_on + 7)
)
SELECT
    week.week_on,
    statuses.status,
    count(told.status) AS user_count,
    week.week_on + 7 <= date '{today}' AS is_complete,
    week.week_on = (SELECT min(week_on) FROM active) AS is_left_censored
FROM week
CROSS JOIN unnest(ARRAY['new', 'returning', 'resurrecting', 'dormant']) AS statuses (status)
LEFT JOIN told ON told.week_on = week.week_on AND told.status = statuses.status
GROUP BY 1, 2
