-- The mart user_score_cuts once more: RANK leaves as many numbers out as there are worse users.
WITH measured AS (
    SELECT
        user_id,
        toInt64(dateDiff('day', max(activity_on), toDate32('{today}'))) AS recency,
        toInt64(countIf(activity_on > addDays(toDate32('{today}'), -28) AND activity_on <= toDate32('{today}'))) AS frequency,
        toInt64(sumIf(action_count, activity_on > addDays(toDate32('{today}'), -28) AND activity_on <= toDate32('{today}')))
            AS engagement
    FROM [[user_activity_daily]]
    GROUP BY user_id
),
ranked AS (
    SELECT
        axis_value.1 AS axis,
        axis_value.2 AS value,
        rank() OVER (PARTITION BY axis ORDER BY if(axis = 'recency', -value, value)) - 1 AS worse,
        count() OVER (PARTITION BY axis) AS users
    FROM measured
    ARRAY JOIN [('recency', recency), ('frequency', frequency), ('engagement', engagement)] AS axis_value
)
SELECT
    axis,
    value,
    toInt64(count()) AS user_count,
    toInt64(any(worse)) AS worse_user_count,
    toInt64(1 + intDiv(5 * (2 * any(worse) + count()), 2 * any(users))) AS score
FROM ranked
GROUP BY axis, value
