-- The mart recommendation_facts once more, from the copies alone: list by list.
WITH shown AS (
    SELECT
        assumeNotNull(user_id) AS user,
        assumeNotNull(last_updated) AS since,
        argMax((recommended_products, _valid_to, _removed), (_valid_from, _id)) AS about
    FROM history.user_recommendations_versions
    GROUP BY user, since
),
list AS (
    SELECT
        user AS user_id,
        since,
        about.1 AS products,
        leadInFrame(toNullable(since)) OVER (
            PARTITION BY user ORDER BY since ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS next_at,
        fromUnixTimestamp64Milli(intDiv(toUnixTimestamp64Micro(about.2), 1000), 'UTC') AS shown_to,
        if(shown_to < since, since, shown_to) AS gone_at,
        if(isNull(next_at) OR (ifNull(about.3, false) AND gone_at < next_at), gone_at, next_at) AS ends_at,
        arraySlice(products, 1, 10) AS top,
        addDays(since, 7) AS week_over,
        if(ends_at < week_over, ends_at, week_over) AS until,
        toDate32(since, '{tz}') AS listed_on,
        toDate32(ends_at, '{tz}') AS ended_on
    FROM shown
),
came AS (
    SELECT DISTINCT list.user_id AS user_id, list.since AS since
    FROM replica.user_sessions AS s INNER JOIN list ON s.user_id = list.user_id
    WHERE week_over <= {as_of} AND notEmpty(products) AND s.start_time >= since AND s.start_time < until
),
acted AS (
    SELECT
        list.user_id AS user_id,
        list.since AS since,
        max(has(top, a.target)) AS is_top,
        argMax(toNullable(a.target), (has(top, a.target), a.at, a.target)) AS target
    FROM replica.user_sessions_actions AS a
    INNER JOIN replica.user_sessions AS s ON a._id = s._id
    INNER JOIN list ON s.user_id = list.user_id
    WHERE s.start_time < until AND (isNull(s.end_time) OR s.end_time > since) AND a.at > since AND a.at < until
    GROUP BY user_id, since
),
hit AS (
    SELECT user_id, since FROM acted WHERE is_top
    UNION DISTINCT
    SELECT list.user_id AS user_id, list.since AS since
    FROM replica.moderation_queue AS r INNER JOIN list ON r.user_id = list.user_id
    WHERE r.submitted_at > since AND r.submitted_at < until AND has(top, r.product_id)
)
SELECT
    user_id,
    since AS listed_at,
    listed_on,
    ends_at AS valid_to,
    toInt64(length(products)) AS product_count,
    toBool((user_id, since) IN (SELECT user_id, since FROM came)) AS is_eligible,
    if(is_eligible, toBool((user_id, since) IN (SELECT user_id, since FROM hit)), NULL) AS is_hit,
    acted.target AS acted_target
FROM list LEFT JOIN acted ON list.user_id = acted.user_id AND list.since = acted.since
