-- The mart user_activity_daily once more, from the copies alone and by another road: every counted thing on its day.
WITH visit AS (
    SELECT
        user_id,
        start_time AS at,
        (end_time IS NULL)::int AS ongoing,
        -- extract() of an interval is an exact numeric: nothing is rounded before the sum is complete
        extract(epoch FROM end_time - start_time) AS duration_s,
        cardinality(pages_visited) AS page_views,
        (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id) AS actions,
        (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id AND a.type = 'add_to_cart') AS carts,
        (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id AND a.type = 'purchase') AS purchases
    FROM replica.user_sessions s
),
happened AS (
    SELECT 'session' AS what, * FROM visit
    UNION ALL
    SELECT 'search', user_id, timestamp, 0, 0, 0, 0, 0, 0 FROM replica.search_queries WHERE results_count <> 0
    UNION ALL
    SELECT 'empty search', user_id, timestamp, 0, 0, 0, 0, 0, 0 FROM replica.search_queries WHERE results_count = 0
    UNION ALL
    SELECT 'ticket', user_id, created_at, 0, 0, 0, 0, 0, 0 FROM replica.support_tickets
    UNION ALL
    SELECT 'review', user_id, submitted_at, 0, 0, 0, 0, 0, 0 FROM replica.moderation_queue
)
SELECT
    user_id,
    (at AT TIME ZONE '{tz}')::date AS activity_on,
    min(min((at AT TIME ZONE '{tz}')::date)) OVER (PARTITION BY user_id) AS first_active_on,
    lag((at AT TIME ZONE '{tz}')::date) OVER (PARTITION BY user_id ORDER BY (at AT TIME ZONE '{tz}')::date)
        AS previous_active_on,
    min(at) AS first_activity_at,
    max(at) AS last_activity_at,
    count(*) FILTER (WHERE what = 'session') AS session_count,
    sum(ongoing)::bigint AS ongoing_session_count,
    coalesce(sum(duration_s), 0)::double precision AS session_duration_s,
    sum(page_views)::bigint AS page_view_count,
    sum(actions)::bigint AS action_count,
    sum(carts)::bigint AS add_to_cart_count,
    sum(purchases)::bigint AS purchase_count,
    count(*) FILTER (WHERE purchases > 0) AS purchase_session_count,
    count(*) FILTER (WHERE what IN ('search', 'empty search')) AS search_count,
    count(*) FILTER (WHERE what = 'empty search') AS zero_result_search_count,
    count(*) FILTER (WHERE what = 'ticket') AS ticket_count,
    count(*) FILTER (WHERE what = 'review') AS review_count
FROM happened
GROUP BY 1, 2
