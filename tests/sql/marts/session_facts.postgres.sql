-- The mart session_facts once more, from the copies alone: every step is looked for on its own, session by session.
WITH session AS (
    SELECT
        s.*,
        greatest(
            start_time, end_time, (SELECT max(at) FROM replica.user_sessions_actions a WHERE a._id = s._id)
        ) AS last_seen_at,
        EXISTS (
            SELECT 1 FROM replica.user_sessions_actions a
            WHERE a._id = s._id AND a.type IN ('add_to_cart', 'purchase')
        ) AS did_key_action
    FROM replica.user_sessions s
),
stated AS (
    SELECT
        session.*,
        CASE
            WHEN end_time < start_time THEN 'invalid'
            WHEN end_time IS NOT NULL THEN 'closed'
            WHEN {as_of} - last_seen_at <= interval '30 minutes' THEN 'open'
            ELSE 'timed_out'
        END AS state,
        viewed.at AS viewed_at,
        carted.at AS added_to_cart_at,
        bought.at AS purchased_at
    FROM session
    LEFT JOIN LATERAL (
        SELECT at, _position FROM replica.user_sessions_actions a
        WHERE a._id = session._id AND type = 'view' ORDER BY at, _position LIMIT 1
    ) AS viewed ON true
    LEFT JOIN LATERAL (
        SELECT at, _position FROM replica.user_sessions_actions a
        WHERE a._id = session._id AND type = 'add_to_cart' AND (a.at, a._position) > (viewed.at, viewed._position)
        ORDER BY at, _position LIMIT 1
    ) AS carted ON true
    LEFT JOIN LATERAL (
        SELECT at FROM replica.user_sessions_actions a
        WHERE a._id = session._id AND type = 'purchase' AND (a.at, a._position) > (carted.at, carted._position)
        ORDER BY at, _position LIMIT 1
    ) AS bought ON true
),
judged AS (
    SELECT
        stated.*,
        CASE
            WHEN cardinality(pages_visited) >= 2 OR did_key_action THEN true
            WHEN state = 'closed' THEN end_time - start_time > interval '10 seconds'
            WHEN state = 'timed_out' THEN last_seen_at - start_time > interval '10 seconds'
        END AS is_engaged
    FROM stated
)
SELECT
    _id,
    session_id,
    user_id,
    device_type,
    start_time AS started_at,
    (start_time AT TIME ZONE '{tz}')::date AS started_on,
    state,
    last_seen_at,
    extract(epoch FROM last_seen_at - start_time)::double precision AS span_s,
    CASE WHEN state = 'closed' THEN extract(epoch FROM end_time - start_time)::double precision END AS duration_s,
    cardinality(pages_visited) AS page_count,
    (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = judged._id) AS action_count,
    is_engaged,
    CASE WHEN state IN ('closed', 'timed_out') THEN NOT is_engaged END AS is_bounce,
    row_number() OVER w AS session_number,
    extract(epoch FROM start_time - lag(start_time) OVER w)::double precision AS gap_prev_s,
    viewed_at,
    added_to_cart_at,
    purchased_at
FROM judged
WINDOW w AS (PARTITION BY user_id ORDER BY start_time, session_id COLLATE "C", _id COLLATE "C")
