-- The mart active_users_daily once more: each day of activity is laid upon each of the 28 days that look back on it.
WITH active AS (SELECT user_id, activity_on FROM [[user_activity_daily]] AS days),
day AS (
    SELECT generate_series(min(activity_on)::timestamp, timestamp '{today}', '1 day')::date AS active_on FROM active
    UNION
    SELECT activity_on FROM active
),
seen AS (SELECT DISTINCT user_id, activity_on + ago AS active_on, ago FROM active, generate_series(0, 27) AS ago),
counted AS (
    SELECT
        active_on,
        count(DISTINCT user_id) FILTER (WHERE ago = 0) AS dau_count,
        count(DISTINCT user_id) FILTER (WHERE ago < 7) AS wau_count,
        count(DISTINCT user_id) AS mau_count
    FROM day LEFT JOIN seen USING (active_on)
    GROUP BY active_on
)
SELECT
    active_on,
    dau_count,
    (
        SELECT count(*) FROM (SELECT min(activity_on) AS first FROM active GROUP BY user_id) AS users
        WHERE first = active_on
    ) AS new_user_count,
    CASE WHEN active_on - (SELECT min(activity_on) FROM active) >= 6 THEN wau_count END AS wau_count,
    CASE WHEN active_on - (SELECT min(activity_on) FROM active) >= 27 THEN mau_count END AS mau_count,
    CASE WHEN active_on - (SELECT min(activity_on) FROM active) >= 27
        THEN (dau_count * 100)::double precision / nullif(mau_count, 0) END AS stickiness_pct,
    active_on < date '{today}' AS is_complete
FROM counted
