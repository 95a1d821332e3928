-- The mart event_types_daily once more, from the copies alone: each type's days as one array.
WITH event AS (
    SELECT toDate32(timestamp, '{tz}') AS dt, leftUTF8(toString(event_type), 600) AS kind, toInt64(count()) AS n
    FROM replica.event_logs GROUP BY dt, kind
),
cell AS (
    SELECT DISTINCT kind, dt FROM (
        SELECT kind, addDays(first, arrayJoin(range(toUInt64(greatest(0, dateDiff('day', first, toDate32('{today}')) + 1))))) AS dt
        FROM (SELECT kind, min(dt) AS first FROM event GROUP BY kind) WHERE first <= toDate32('{today}')
        UNION ALL
        SELECT kind, dt FROM event
    )
),
counted AS (SELECT cell.kind AS kind, cell.dt AS dt, event.n AS n FROM cell LEFT JOIN event ON cell.kind = event.kind AND cell.dt = event.dt),
total AS (SELECT dt, sum(n) AS everything FROM event GROUP BY dt),
series AS (SELECT kind, groupArray(dt) AS days, groupArray(n) AS ns FROM (SELECT * FROM counted ORDER BY dt) GROUP BY kind),
trained AS (
    SELECT
        kind, dt, n,
        arrayFilter((m, d) -> d >= addDays(dt, -14) AND d < dt, ns, days) AS training,
        14 * arraySum(m -> m * m, training) - arraySum(training) * arraySum(training) AS spread
    FROM series ARRAY JOIN days AS dt, ns AS n
)
SELECT
    trained.dt AS event_on,
    kind AS event_type,
    n AS event_count,
    toInt64(everything) AS all_event_count,
    n * 100 / nullIf(everything, 0) AS share_pct,
    if(length(training) = 14, arraySum(training) / 14, NULL) AS mean_14d_count,
    if(length(training) = 14 AND spread > 0 AND event_on < toDate32('{today}'),
        (14 * n - arraySum(training)) / sqrt(14 * spread / 13), NULL) AS z_score,
    if(isNull(z_score), NULL, toBool(abs(z_score) >= 3 AND (n >= 10 OR arraySum(training) >= 140))) AS is_unusual,
    toBool(event_on < toDate32('{today}')) AS is_complete
FROM trained LEFT JOIN total ON trained.dt = total.dt
