-- The mart user_retention_weekly once more: for each cohort and week it is counted who was there.
WITH active AS (
    SELECT DISTINCT user_id, activity_on - (extract(isodow FROM activity_on)::int - 1) AS week_on
    FROM [[user_activity_daily]] AS days
),
cohort AS (SELECT user_id, min(week_on) AS cohort_on FROM active GROUP BY user_id),
cell AS (
    SELECT cohort_on, generate_series(cohort_on::timestamp, timestamp '{today}', '7 days')::date AS week_on FROM cohort
    UNION
    SELECT cohort_on, week_on FROM cohort JOIN active USING (user_id)
),
size AS (SELECT cohort_on, count(*) AS users FROM cohort GROUP BY cohort_on),
back AS (SELECT cohort_on, week_on, count(*) AS users FROM cohort JOIN active USING (user_id) GROUP BY 1, 2)
SELECT
    cohort_on,
    ((week_on - cohort_on) / 7)::bigint AS week_number,
    size.users AS cohort_user_count,
    CASE WHEN week_on + 7 <= date '{today}' THEN size.users ELSE 0 END AS eligible_user_count,
    coalesce(back.users, 0) AS retained_user_count,
    CASE WHEN week_on + 7 <= date '{today}' THEN (coalesce(back.users, 0) * 100)::double precision / size.users END
        AS retention_pct,
    week_on + 7 <= date '{today}' AS is_complete
FROM cell JOIN size USING (cohort_on) LEFT JOIN back USING (cohort_on, week_on)
