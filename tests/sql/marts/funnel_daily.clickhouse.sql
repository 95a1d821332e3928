-- The mart funnel_daily once more, from the sessions. The median is spelled out, see support_efficiency_daily.
WITH reached AS (
    SELECT
        started_on, state, step.1 AS step_name, step.2 AS number, step.4 AS before,
        (toUnixTimestamp64Milli(step.3) - toUnixTimestamp64Milli(assumeNotNull(viewed_at))) / 1000 AS took_s
    FROM (SELECT * FROM [[session_facts]] WHERE isNotNull(viewed_at))
    ARRAY JOIN [
        ('view', 1, viewed_at, viewed_at),
        ('add_to_cart', 2, added_to_cart_at, viewed_at),
        ('purchase', 3, purchased_at, added_to_cart_at)
    ] AS step
)
SELECT
    started_on AS entered_on,
    step_name AS step,
    toInt64(number) AS step_number,
    toInt64(count()) AS entered_count,
    toInt64(count(took_s)) AS reached_count,
    reached_count * 100 / entered_count AS conversion_pct,
    toInt64(countIf(isNotNull(before))) AS previous_count,
    reached_count * 100 / nullIf(previous_count, 0) AS conversion_from_previous_pct,
    arraySort(groupArray(took_s)) AS times,
    (length(times) - 1) * 0.5 AS place,
    if(empty(times), NULL,
        times[toUInt64(floor(place)) + 1]
        + (place - floor(place)) * (times[toUInt64(ceil(place)) + 1] - times[toUInt64(floor(place)) + 1]))
        AS median_time_to_step_s,
    toBool(started_on < toDate32('{today}') AND countIf(state = 'open') = 0) AS is_complete
FROM reached
GROUP BY started_on, step_name, number
