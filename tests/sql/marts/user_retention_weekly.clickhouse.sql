-- The mart user_retention_weekly once more: each user's weeks as one array.
WITH weeks AS (
    SELECT
        user_id,
        arraySort(groupUniqArray(addDays(activity_on, 1 - toDayOfWeek(activity_on)))) AS all_weeks,
        all_weeks[1] AS cohort
    FROM [[user_activity_daily]]
    GROUP BY user_id
),
size AS (SELECT cohort, count() AS users FROM weeks GROUP BY cohort),
back AS (SELECT cohort, dt, count() AS users FROM weeks ARRAY JOIN all_weeks AS dt GROUP BY cohort, dt),
cell AS (
    SELECT DISTINCT cohort, dt FROM (
        SELECT cohort, addDays(cohort, 7 * arrayJoin(range(toUInt64(greatest(
            0, intDiv(dateDiff('day', cohort, toDate32('{today}')), 7) + 1))))) AS dt
        FROM size WHERE cohort <= toDate32('{today}')
        UNION ALL
        SELECT cohort, dt FROM back
    )
)
SELECT
    cell.cohort AS cohort_on,
    toInt64(intDiv(dateDiff('day', cell.cohort, cell.dt), 7)) AS week_number,
    toInt64(size.users) AS cohort_user_count,
    toBool(addDays(cell.dt, 7) <= toDate32('{today}')) AS is_complete,
    if(is_complete, cohort_user_count, 0) AS eligible_user_count,
    toInt64(back.users) AS retained_user_count,
    if(is_complete, back.users * 100 / size.users, NULL) AS retention_pct
FROM cell
INNER JOIN size ON cell.cohort = size.cohort
LEFT JOIN back ON cell.cohort = back.cohort AND cell.dt = back.dt
