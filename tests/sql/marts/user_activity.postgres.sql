-- The mart user_activity once more, from the copies alone: not by way of days, but user by user.
WITH visit AS (
    SELECT
        user_id,
        device_type,
        extract(epoch FROM end_time - start_time) AS duration_s, -- null while it goes on; numeric, so exact
        cardinality(pages_visited) AS page_views,
        (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id) AS actions,
        (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id AND a.type = 'add_to_cart') AS carts,
        (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id AND a.type = 'purchase') AS purchases
    FROM replica.user_sessions s
),
visits AS (
    SELECT
        user_id,
        count(*) AS sessions,
        count(duration_s) AS ended,
        sum(duration_s) AS duration_s,
        sum(page_views)::bigint AS page_views,
        sum(actions)::bigint AS actions,
        sum(carts)::bigint AS carts,
        sum(purchases)::bigint AS purchases,
        count(*) FILTER (WHERE purchases > 0) AS bought
    FROM visit
    GROUP BY user_id
),
favourite AS (
    SELECT DISTINCT ON (user_id) user_id, device_type
    FROM replica.user_sessions
    GROUP BY user_id, device_type
    ORDER BY user_id, count(*) DESC, device_type COLLATE "C"
),
searches AS (
    SELECT user_id, count(*) AS made, count(*) FILTER (WHERE results_count = 0) AS empty
    FROM replica.search_queries
    GROUP BY user_id
),
tickets AS (SELECT user_id, count(*) AS opened FROM replica.support_tickets GROUP BY user_id),
reviews AS (SELECT user_id, count(*) AS submitted FROM replica.moderation_queue GROUP BY user_id),
moments AS (
    SELECT user_id, start_time AS at FROM replica.user_sessions
    UNION ALL SELECT user_id, timestamp FROM replica.search_queries
    UNION ALL SELECT user_id, created_at FROM replica.support_tickets
    UNION ALL SELECT user_id, submitted_at FROM replica.moderation_queue
),
users AS (
    SELECT
        user_id,
        min(at) AS first_at,
        max(at) AS last_at,
        count(DISTINCT (at AT TIME ZONE '{tz}')::date) AS days
    FROM moments
    GROUP BY user_id
),
lately AS (
    SELECT
        user_id,
        (date '{today}' - max((at AT TIME ZONE '{tz}')::date))::bigint AS recency_days,
        count(DISTINCT (at AT TIME ZONE '{tz}')::date) FILTER (
            WHERE date '{today}' - (at AT TIME ZONE '{tz}')::date BETWEEN 0 AND 27) AS frequency_28d
    FROM moments GROUP BY user_id
),
lately_visited AS (
    SELECT
        user_id,
        count(*) AS sessions_28d,
        sum((SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id))::bigint AS intensity_28d
    FROM replica.user_sessions s
    WHERE date '{today}' - (start_time AT TIME ZONE '{tz}')::date BETWEEN 0 AND 27
    GROUP BY user_id
),
scored AS (
    SELECT
        user_id,
        recency_days,
        frequency_28d,
        coalesce(sessions_28d, 0) AS sessions_28d,
        coalesce(intensity_28d, 0) AS intensity_28d,
        -- who is worse, by rank(), and who is worse or as good, by count(): together twice the rank in the middle
        1 + 5 * (rank() OVER r - 1 + count(*) OVER r) / (2 * count(*) OVER ()) AS r_score,
        1 + 5 * (rank() OVER f - 1 + count(*) OVER f) / (2 * count(*) OVER ()) AS f_score,
        1 + 5 * (rank() OVER e - 1 + count(*) OVER e) / (2 * count(*) OVER ()) AS e_score
    FROM lately LEFT JOIN lately_visited USING (user_id)
    -- count() of such a window is of all up to the last one with the same value
    WINDOW
        r AS (ORDER BY recency_days DESC),
        f AS (ORDER BY frequency_28d),
        e AS (ORDER BY coalesce(intensity_28d, 0))
)
SELECT
    user_id,
    first_at AS first_activity_at,
    last_at AS last_activity_at,
    days AS active_day_count,
    coalesce(sessions, 0) AS session_count,
    coalesce(sessions - ended, 0) AS ongoing_session_count,
    coalesce(duration_s, 0)::double precision AS session_duration_s,
    -- one division of doubles that hold integers, so the result is rounded once
    (duration_s * 1000)::double precision / (nullif(ended, 0) * 1000) AS mean_session_duration_s,
    coalesce(page_views, 0) AS page_view_count,
    page_views::double precision / sessions AS mean_page_view_count,
    coalesce(actions, 0) AS action_count,
    coalesce(carts, 0) AS add_to_cart_count,
    coalesce(purchases, 0) AS purchase_count,
    coalesce(bought, 0) AS purchase_session_count,
    (bought * 100)::double precision / sessions AS conversion_pct,
    coalesce(made, 0) AS search_count,
    coalesce(empty, 0) AS zero_result_search_count,
    (empty * 100)::double precision / made AS zero_result_search_pct,
    coalesce(opened, 0) AS ticket_count,
    coalesce(submitted, 0) AS review_count,
    device_type AS favourite_device_type,
    recency_days,
    frequency_28d,
    sessions_28d,
    intensity_28d,
    r_score,
    f_score,
    e_score,
    CASE
        WHEN least(r_score, f_score, e_score) >= 4 THEN 'champions'
        WHEN r_score >= 3 AND f_score >= 4 THEN 'loyal'
        WHEN r_score >= 4 THEN 'promising'
        WHEN r_score = 3 OR recency_days < 7 THEN 'attention'
        WHEN r_score = 2 THEN 'slipping'
        ELSE 'dormant'
    END AS segment
FROM users
LEFT JOIN visits USING (user_id)
LEFT JOIN favourite USING (user_id)
LEFT JOIN searches USING (user_id)
LEFT JOIN tickets USING (user_id)
LEFT JOIN reviews USING (user_id)
LEFT JOIN scored USING (user_id)
