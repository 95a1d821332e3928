-- The mart funnel_daily once more, from the sessions.
WITH entered AS (SELECT * FROM [[session_facts]] AS sessions WHERE viewed_at IS NOT NULL),
reached AS (
    SELECT
        started_on, step, step_number, _id,
        extract(epoch FROM at - viewed_at)::double precision AS took_s,
        before IS NOT NULL AS was_before,
        state = 'open' AS is_open
    FROM entered
    CROSS JOIN LATERAL (
        VALUES ('view', 1, viewed_at, viewed_at), ('add_to_cart', 2, added_to_cart_at, viewed_at),
               ('purchase', 3, purchased_at, added_to_cart_at)
    ) AS steps (step, step_number, at, before)
)
SELECT
    started_on AS entered_on,
    step,
    step_number::bigint,
    count(*) AS entered_count,
    count(took_s) AS reached_count,
    (count(took_s) * 100)::double precision / count(*) AS conversion_pct,
    count(*) FILTER (WHERE was_before) AS previous_count,
    (count(took_s) * 100)::double precision / nullif(count(*) FILTER (WHERE was_before), 0)
        AS conversion_from_previous_pct,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY took_s) AS median_time_to_step_s,
    started_on < date '{today}' AND NOT bool_or(is_open) AS is_complete
FROM reached
GROUP BY started_on, step, step_number
