-- The mart event_types_daily once more, from the copies alone: mean and deviation of the 14 days by a frame of rows.
WITH event AS (
    SELECT (timestamp AT TIME ZONE '{tz}')::date AS event_on, left(event_type, 600) AS event_type
    FROM replica.event_logs
),
cell AS (
    SELECT generate_series(min(event_on)::timestamp, timestamp '{today}', '1 day')::date AS event_on, event_type
    FROM event GROUP BY event_type
    UNION
    SELECT event_on, event_type FROM event
),
counted AS (
    SELECT event_on, event_type, count(e.event_on) AS n
    FROM cell LEFT JOIN event e USING (event_on, event_type)
    GROUP BY event_on, event_type
),
trained AS (
    SELECT
        *,
        sum(n) OVER (PARTITION BY event_on) AS everything,
        count(*) OVER before AS days,
        sum(n) OVER before AS total,
        sum(n * n) OVER before AS squares
    FROM counted
    WINDOW before AS (
        PARTITION BY event_type ORDER BY event_on RANGE BETWEEN interval '14 days' PRECEDING AND interval '1 day' PRECEDING
    )
),
scored AS (
    SELECT
        *,
        CASE WHEN days = 14 AND event_on < date '{today}' AND 14 * squares > total * total
            THEN (14 * n - total)::double precision / sqrt((14 * (14 * squares - total * total))::double precision / 13)
        END AS z_score
    FROM trained
)
SELECT
    event_on,
    event_type,
    n AS event_count,
    everything::bigint AS all_event_count,
    (n * 100)::double precision / nullif(everything, 0)::double precision AS share_pct,
    CASE WHEN days = 14 THEN total::double precision / 14 END AS mean_14d_count,
    z_score,
    -- in 14 days 140 events are 10 a day
    CASE WHEN z_score IS NOT NULL THEN abs(z_score) >= 3 AND (n >= 10 OR total >= 140) END AS is_unusual,
    event_on < date '{today}' AS is_complete
FROM scored
