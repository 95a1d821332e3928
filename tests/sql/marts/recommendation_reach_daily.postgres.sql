-- The mart recommendation_reach_daily once more, from the copies alone: day by day, and list by list.
WITH list AS (
    SELECT DISTINCT ON (user_id)
        user_id,
        recommended_products,
        last_updated AS since,
        last_updated + interval '168 hours' AS until,
        (last_updated AT TIME ZONE '{tz}')::date AS listed_on
    FROM replica.user_recommendations
    ORDER BY user_id, last_updated DESC, _id COLLATE "C" DESC
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
        count(*) FILTER (WHERE listed_on <= reached_on AND cardinality(recommended_products) > 0) AS listed,
        count(*) FILTER (WHERE listed_on > reached_on) AS unknown
    FROM day LEFT JOIN active USING (reached_on) LEFT JOIN list USING (user_id)
    GROUP BY reached_on
),
recommended AS (
    SELECT product_id, greatest(min(listed_on), min(priced_on)) AS since
    FROM list CROSS JOIN LATERAL unnest(recommended_products) AS product_id JOIN product USING (product_id)
    GROUP BY product_id
),
hits AS (
    SELECT
        listed_on AS reached_on,
        count(*) FILTER (WHERE product_count > 0) AS lists,
        count(*) FILTER (WHERE is_eligible) AS eligible,
        count(*) FILTER (WHERE is_hit) AS hit
    FROM [[recommendation_facts]] AS facts GROUP BY listed_on
),
told AS (
    SELECT
        reach.*,
        (SELECT count(*) FROM product WHERE priced_on <= reached_on) AS known_products,
        (SELECT count(*) FROM recommended WHERE since <= reached_on) AS recommended_products,
        (SELECT count(*) FROM list WHERE listed_on > reached_on) AS unknown_lists
    FROM reach
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
    (hit * 100)::double precision / nullif(eligible, 0) AS hit_pct,
    reached_on < date '{today}' AS is_complete
FROM told LEFT JOIN hits USING (reached_on)
