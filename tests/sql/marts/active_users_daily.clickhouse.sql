-- The mart active_users_daily once more: each day of activity is laid upon each of the 28 days that look back on it.
WITH active AS (SELECT user_id, activity_on FROM [[user_activity_daily]]),
(SELECT min(activity_on) FROM active) AS first_day,
seen AS (SELECT user_id, addDays(activity_on, ago) AS dt, ago FROM active ARRAY JOIN range(28) AS ago),
day AS (
    SELECT DISTINCT dt FROM (
        SELECT addDays(first_day, arrayJoin(range(toUInt64(dateDiff('day', first_day, toDate32('{today}')) + 1)))) AS dt
        UNION ALL
        SELECT activity_on FROM active
    )
),
counted AS (
    SELECT dt, uniqExactIf(user_id, ago = 0) AS dau, uniqExactIf(user_id, ago < 7) AS wau, uniqExact(user_id) AS mau
    FROM seen GROUP BY dt
),
fresh AS (SELECT first, count() AS users FROM (SELECT min(activity_on) AS first FROM active GROUP BY user_id) GROUP BY first)
SELECT
    day.dt AS active_on,
    toInt64(dau) AS dau_count,
    toInt64(users) AS new_user_count,
    if(day.dt >= addDays(first_day, 6), toInt64(wau), NULL) AS wau_count,
    if(day.dt >= addDays(first_day, 27), toInt64(mau), NULL) AS mau_count,
    dau * 100 / nullIf(mau_count, 0) AS stickiness_pct,
    toBool(day.dt < toDate32('{today}')) AS is_complete
FROM day LEFT JOIN counted ON day.dt = counted.dt LEFT JOIN fresh ON day.dt = fresh.first
