-- The mart recommendation_reach_daily once more, from the copies alone: day by day, and list by list.
WITH list AS (
    SELECT
        *,
        least(week_over, valid_to) AS until,
        (since AT TIME ZONE '{tz}')::date AS listed_on,
        (valid_to AT TIME ZONE '{tz}')::date AS ended_on
    FROM (
        SELECT
            user_id,
            recommended_products,
            last_updated AS since,
            last_updated + interval '168 hours' AS week_over,
            coalesce(
                least(
                    lead(last_updated) OVER (PARTITION BY user_id ORDER BY last_updated),
                    CASE WHEN _removed THEN gone_at END
                ),
                gone_at
            ) AS valid_to
        FROM (
            SELECT DISTINCT ON (user_id, last_updated)
                *,
                CASE WHEN _valid_to IS NOT NULL THEN greatest(date_trunc('milliseconds', _valid_to), last_updated) END
                    AS gone_at
            FROM history.user_recommendations_versions
            ORDER BY user_id, last_updated, _valid_from DESC, _id COLLATE "C" DESC
        ) AS shown_last
    ) AS one
),
known AS (
    SELECT user_id, min(least(listed_on, date '{user_recommendations_on}')) AS known_on FROM list GROUP BY user_id
),
day AS (
    SELECT generate_series(min(listed_on)::timestamp, timestamp '{today}', '1 day')::date AS reached_on FROM list
    UNION
    SELECT listed_on FROM list
),
active AS (
    SELECT DISTINCT user_id, activity_on + ago AS reached_on
    FROM [[user_activity_daily]] AS days, generate_series(0, 27) AS ago
),
product AS (
    SELECT product_id, (min(changed_at) AT TIME ZONE '{tz}')::date AS priced_on
    FROM replica.product_price_history JOIN replica.product_price_history_price_changes USING (_id)
    GROUP BY product_id
),
reach AS (
    SELECT
        reached_on,
        count(user_id) AS active_users,
        count(*) FILTER (WHERE EXISTS (
            SELECT 1 FROM list
            WHERE list.user_id = active.user_id AND listed_on <= reached_on AND cardinality(recommended_products) > 0
                AND (ended_on IS NULL OR ended_on > reached_on)
        )) AS listed,
        count(*) FILTER (WHERE known_on > reached_on) AS unknown
    FROM day LEFT JOIN active USING (reached_on) LEFT JOIN known USING (user_id)
    GROUP BY reached_on
),
recommended AS (
    SELECT reached_on, count(DISTINCT product_id) AS recommended_products
    FROM day
    JOIN list ON listed_on <= reached_on AND (ended_on IS NULL OR ended_on > reached_on)
    CROSS JOIN LATERAL unnest(recommended_products) AS product_id
    JOIN product USING (product_id)
    WHERE priced_on <= reached_on
    GROUP BY reached_on
),
hits AS (
    SELECT
        listed_on AS reached_on,
        count(*) FILTER (WHERE product_count > 0) AS lists,
        count(DISTINCT user_id) FILTER (WHERE is_eligible) AS eligible,
        count(DISTINCT user_id) FILTER (WHERE is_hit) AS hit
    FROM [[recommendation_facts]] AS facts GROUP BY listed_on
),
named AS (
    SELECT count(*) AS products
    FROM [[recommendation_facts]] AS facts
    WHERE acted_target IN (SELECT product_id FROM replica.product_price_history)
        OR acted_target IN (SELECT unnest(recommended_products) FROM list)
),
told AS (
    SELECT
        reach.*,
        (SELECT count(*) FROM product WHERE priced_on <= reached_on) AS known_products,
        coalesce(recommended_products, 0) AS recommended_products,
        (SELECT count(*) FROM known WHERE known_on > reached_on) AS unknown_lists
    FROM reach LEFT JOIN recommended USING (reached_on)
)
SELECT
    reached_on,
    active_users AS active_user_count,
    listed AS listed_user_count,
    unknown AS unknown_user_count,
    CASE WHEN unknown = 0 THEN (listed * 100)::double precision / nullif(active_users, 0) END AS reach_pct,
    known_products AS known_product_count,
    recommended_products AS recommended_product_count,
    unknown_lists AS unknown_list_count,
    CASE WHEN unknown_lists = 0 THEN (recommended_products * 100)::double precision / nullif(known_products, 0) END
        AS catalogue_coverage_pct,
    coalesce(lists, 0) AS list_count,
    coalesce(eligible, 0) AS hit_eligible_user_count,
    coalesce(hit, 0) AS hit_user_count,
    CASE WHEN (SELECT products > 0 FROM named) THEN (hit * 100)::double precision / nullif(eligible, 0) END AS hit_pct,
    {user_recommendations_since} AS observed_since,
    reached_on < date '{today}' AS is_complete
FROM told LEFT JOIN hits USING (reached_on)
