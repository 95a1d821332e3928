-- The mart session_facts once more, from the copies alone: each session's actions as one array in their order.
WITH acted AS (
    SELECT
        _id,
        max(at) AS last_action_at,
        countIf(type IN ('add_to_cart', 'purchase')) AS key_actions,
        count() AS actions,
        arraySort(groupArray((at, _position, toString(type)))) AS all_of_them,
        arrayFirstIndex(a -> a.3 = 'view', all_of_them) AS view_place,
        if(view_place = 0, 0, arrayFirstIndex((a, n) -> a.3 = 'add_to_cart' AND n > view_place,
            all_of_them, arrayEnumerate(all_of_them))) AS cart_place,
        if(cart_place = 0, 0, arrayFirstIndex((a, n) -> a.3 = 'purchase' AND n > cart_place,
            all_of_them, arrayEnumerate(all_of_them))) AS purchase_place
    FROM replica.user_sessions_actions
    GROUP BY _id
),
stated AS (
    SELECT
        s._id AS _id, s.session_id AS session_id, s.user_id AS user_id, s.device_type AS device_type,
        s.start_time AS start_time, s.end_time AS end_time, s.pages_visited AS pages,
        greatest(start_time, ifNull(end_time, start_time), if(actions = 0, start_time, last_action_at)) AS seen_at,
        multiIf(
            end_time < start_time, 'invalid',
            isNotNull(end_time), 'closed',
            toUnixTimestamp64Milli({as_of}) - toUnixTimestamp64Milli(seen_at) <= 1800000, 'open',
            'timed_out'
        ) AS state,
        toUnixTimestamp64Milli(seen_at) - toUnixTimestamp64Milli(start_time) AS span_ms,
        if(state = 'closed', toUnixTimestamp64Milli(end_time) - toUnixTimestamp64Milli(start_time), NULL) AS duration_ms,
        key_actions, actions, all_of_them, view_place, cart_place, purchase_place
    FROM replica.user_sessions AS s LEFT JOIN acted ON s._id = acted._id
)
SELECT
    _id,
    session_id,
    user_id,
    toString(device_type) AS device_type,
    start_time AS started_at,
    toDate32(start_time, '{tz}') AS started_on,
    state,
    seen_at AS last_seen_at,
    span_ms / 1000 AS span_s,
    duration_ms / 1000 AS duration_s,
    toInt64(length(pages)) AS page_count,
    toInt64(actions) AS action_count,
    multiIf(
        length(pages) >= 2 OR key_actions > 0, true,
        state = 'closed', toBool(duration_ms > 10000),
        state = 'timed_out', toBool(span_ms > 10000),
        NULL
    ) AS is_engaged,
    if(state IN ('closed', 'timed_out'), toBool(NOT is_engaged), NULL) AS is_bounce,
    toInt64(row_number() OVER w) AS session_number,
    if(session_number = 1, NULL,
       (toUnixTimestamp64Milli(start_time) - toUnixTimestamp64Milli(lagInFrame(start_time) OVER w)) / 1000) AS gap_prev_s,
    if(view_place = 0, NULL, all_of_them[view_place].1) AS viewed_at,
    if(cart_place = 0, NULL, all_of_them[cart_place].1) AS added_to_cart_at,
    if(purchase_place = 0, NULL, all_of_them[purchase_place].1) AS purchased_at
FROM stated
WINDOW w AS (PARTITION BY user_id ORDER BY start_time, session_id, _id
             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
