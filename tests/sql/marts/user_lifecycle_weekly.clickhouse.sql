-- The mart user_lifecycle_weekly once more: each user's weeks as one array.
WITH weeks AS (
    SELECT user_id, arraySort(groupUniqArray(addDays(activity_on, 1 - toDayOfWeek(activity_on)))) AS all_weeks
    FROM [[user_activity_daily]]
    GROUP BY user_id
),
(SELECT min(all_weeks[1]) FROM weeks) AS first_week,
told AS (
    SELECT
        dt,
        multiIf(dt = all_weeks[1], 'new', has(all_weeks, addDays(dt, -7)), 'returning', 'resurrecting') AS status
    FROM weeks ARRAY JOIN all_weeks AS dt
    UNION ALL
    SELECT addDays(dt, 7) AS dt, 'dormant' AS status
    FROM weeks ARRAY JOIN arrayFilter(w -> NOT has(all_weeks, addDays(w, 7)), all_weeks) AS dt
),
counted AS (SELECT dt, status, count() AS users FROM told GROUP BY dt, status),
week AS (
    SELECT DISTINCT dt FROM (
        SELECT addDays(first_week, 7 * arrayJoin(range(
            toUInt64(intDiv(dateDiff('day', first_week, toDate32('{today}')), 7) + 1)))) AS dt
        UNION ALL
        SELECT arrayJoin(all_weeks) FROM weeks
    )
),
every AS (SELECT dt, arrayJoin(['new', 'returning', 'resurrecting', 'dormant']) AS status FROM week)
SELECT
    every.dt AS week_on,
    every.status AS status,
    toInt64(users) AS user_count,
    toBool(addDays(every.dt, 7) <= toDate32('{today}')) AS is_complete,
    toBool(every.dt = first_week) AS is_left_censored
FROM every LEFT JOIN counted ON every.dt = counted.dt AND every.status = counted.status
