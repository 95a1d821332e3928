-- The mart recommendation_reach_daily once more, from the copies alone: day by day, and list by list.
WITH shown AS (
    SELECT
        assumeNotNull(user_id) AS user,
        assumeNotNull(last_updated) AS since,
        argMax((recommended_products, _valid_to, _removed), (_valid_from, _id)) AS about
    FROM history.user_recommendations_versions
    GROUP BY user, since
),
list AS (
    SELECT
        user AS user_id,
        since,
        about.1 AS products,
        leadInFrame(toNullable(since)) OVER (
            PARTITION BY user ORDER BY since ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS next_at,
        fromUnixTimestamp64Milli(intDiv(toUnixTimestamp64Micro(about.2), 1000), 'UTC') AS shown_to,
        if(shown_to < since, since, shown_to) AS gone_at,
        if(isNull(next_at) OR (ifNull(about.3, false) AND gone_at < next_at), gone_at, next_at) AS ends_at,
        arraySlice(products, 1, 10) AS top,
        addDays(since, 7) AS week_over,
        if(ends_at < week_over, ends_at, week_over) AS until,
        toDate32(since, '{tz}') AS listed_on,
        toDate32(ends_at, '{tz}') AS ended_on
    FROM shown
),
known AS (
    SELECT
        user_id,
        least(min(listed_on), toDate32('{user_recommendations_on}')) AS known_on,
        groupArray((listed_on, ifNull(ended_on, toDate32('2299-12-31')), notEmpty(products))) AS lists
    FROM list GROUP BY user_id
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
        countIf(arrayExists(l -> l.1 <= active.dt AND l.2 > active.dt AND l.3, lists)) AS listed,
        countIf(notEmpty(known.user_id) AND known_on > active.dt) AS unknown
    FROM active LEFT JOIN known ON active.user_id = known.user_id
    GROUP BY dt
),
product AS (
    SELECT p.product_id AS product_id, toDate32(min(c.changed_at), '{tz}') AS priced_on
    FROM replica.product_price_history AS p
    INNER JOIN replica.product_price_history_price_changes AS c ON p._id = c._id
    GROUP BY product_id
),
recommended AS (
    SELECT product_id, greatest(listed_on, priced_on) AS from_day, ended_day
    FROM (
        SELECT arrayJoin(products) AS product_id, listed_on, ifNull(ended_on, toDate32('2299-12-31')) AS ended_day
        FROM list
    ) AS one
    INNER JOIN product ON one.product_id = product.product_id
),
used AS (
    SELECT
        listed_on,
        countIf(product_count > 0) AS lists,
        uniqExactIf(user_id, is_eligible) AS eligible,
        uniqExactIf(user_id, is_hit) AS hits
    FROM [[recommendation_facts]] GROUP BY listed_on
),
(SELECT groupArray(priced_on) FROM product) AS all_priced,
(SELECT groupArray((product_id, from_day, ended_day)) FROM recommended) AS all_recommended,
(SELECT groupArray(known_on) FROM known) AS all_known,
(
    SELECT count() FROM [[recommendation_facts]]
    WHERE acted_target IN (SELECT product_id FROM replica.product_price_history)
        OR acted_target IN (SELECT arrayJoin(products) FROM list)
) AS named_products
SELECT
    day.dt AS reached_on,
    toInt64(users) AS active_user_count,
    toInt64(listed) AS listed_user_count,
    toInt64(unknown) AS unknown_user_count,
    if(unknown = 0, listed * 100 / nullIf(users, 0), NULL) AS reach_pct,
    toInt64(arrayCount(d -> d <= day.dt, all_priced)) AS known_product_count,
    toInt64(arrayUniq(arrayMap(r -> r.1, arrayFilter(r -> r.2 <= day.dt AND r.3 > day.dt, all_recommended)))) AS recommended_product_count,
    toInt64(arrayCount(d -> d > day.dt, all_known)) AS unknown_list_count,
    if(unknown_list_count = 0, recommended_product_count * 100 / nullIf(known_product_count, 0), NULL)
        AS catalogue_coverage_pct,
    toInt64(lists) AS list_count,
    toInt64(eligible) AS hit_eligible_user_count,
    toInt64(hits) AS hit_user_count,
    if(named_products > 0, hits * 100 / nullIf(eligible, 0), NULL) AS hit_pct,
    {user_recommendations_since} AS observed_since,
    toBool(day.dt < toDate32('{today}')) AS is_complete
FROM day LEFT JOIN reach ON day.dt = reach.dt LEFT JOIN used ON day.dt = used.listed_on
