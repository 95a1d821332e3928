-- The mart recommendation_reach_daily once more, from the copies alone: day by day, and list by list.
WITH list AS (
    SELECT
        user_id,
        argMax((recommended_products, last_updated), (last_updated, _id)) AS about,
        about.1 AS products,
            about.2 AS since,
        addDays(since, 7) AS until,
        toDate32(since, '{tz}') AS listed_on
    FROM replica.user_recommendations
    GROUP BY user_id
),
(SELECT min(listed_on) FROM list) AS first_day,
day AS (
    SELECT DISTINCT dt FROM (
        SELECT addDays(first_day, arrayJoin(range(toUInt64(dateDiff('day', first_day, toDate32('{today}')) + 1)))) AS dt
        UNION ALL
        SELECT listed_on FROM list
    )
),
active AS (
    SELECT DISTINCT user_id, addDays(activity_on, ago) AS dt
    FROM [[user_activity_daily]] ARRAY JOIN range(28) AS ago
),
reach AS (
    SELECT
        active.dt AS dt,
        count() AS users,
        countIf(notEmpty(list.user_id) AND listed_on <= active.dt AND notEmpty(products)) AS listed,
        countIf(notEmpty(list.user_id) AND listed_on > active.dt) AS unknown
    FROM active LEFT JOIN list ON active.user_id = list.user_id
    GROUP BY dt
),
product AS (
    SELECT p.product_id AS product_id, toDate32(min(c.changed_at), '{tz}') AS priced_on
    FROM replica.product_price_history AS p
    INNER JOIN replica.product_price_history_price_changes AS c ON p._id = c._id
    GROUP BY product_id
),
recommended AS (
    SELECT product_id, greatest(min(listed_on), any(priced_on)) AS from_day
    FROM (SELECT arrayJoin(products) AS product_id, listed_on FROM list) AS one
    INNER JOIN product ON one.product_id = product.product_id
    GROUP BY product_id
),
used AS (
    SELECT listed_on, countIf(product_count > 0) AS lists, countIf(is_eligible) AS eligible, countIf(is_hit) AS hits
    FROM [[recommendation_facts]] GROUP BY listed_on
),
(SELECT groupArray(priced_on) FROM product) AS all_priced,
(SELECT groupArray(from_day) FROM recommended) AS all_recommended,
(SELECT groupArray(listed_on) FROM list) AS all_listed
SELECT
    day.dt AS reached_on,
    toInt64(users) AS active_user_count,
    toInt64(listed) AS listed_user_count,
    toInt64(unknown) AS unknown_user_count,
    if(unknown = 0, listed * 100 / nullIf(users, 0), NULL) AS reach_pct,
    toInt64(arrayCount(d -> d <= day.dt, all_priced)) AS known_product_count,
    toInt64(arrayCount(d -> d <= day.dt, all_recommended)) AS recommended_product_count,
    toInt64(arrayCount(d -> d > day.dt, all_listed)) AS unknown_list_count,
    if(unknown_list_count = 0, recommended_product_count * 100 / nullIf(known_product_count, 0), NULL)
        AS catalogue_coverage_pct,
    toInt64(lists) AS list_count,
    toInt64(eligible) AS hit_eligible_user_count,
    toInt64(hits) AS hit_user_count,
    hits * 100 / nullIf(eligible, 0) AS hit_pct,
    toBool(day.dt < toDate32('{today}')) AS is_complete
FROM day LEFT JOIN reach ON day.dt = reach.dt LEFT JOIN used ON day.dt = used.listed_on
