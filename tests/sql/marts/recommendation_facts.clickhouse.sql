-- The mart recommendation_facts once more, from the copies alone: list by list.
WITH list AS (
    SELECT
        user_id,
        argMax((recommended_products, last_updated), (last_updated, _id)) AS about,
        about.1 AS products,
        arraySlice(products, 1, 10) AS top,
        about.2 AS since,
        addDays(since, 7) AS until,
        toDate32(since, '{tz}') AS listed_on
    FROM replica.user_recommendations
    GROUP BY user_id
),
came AS (
    SELECT DISTINCT list.user_id AS user_id
    FROM replica.user_sessions AS s INNER JOIN list ON s.user_id = list.user_id
    WHERE until <= {as_of} AND notEmpty(products) AND s.start_time >= since AND s.start_time < until
),
hit AS (
    SELECT DISTINCT list.user_id AS user_id
    FROM replica.user_sessions_actions AS a
    INNER JOIN replica.user_sessions AS s ON a._id = s._id
    INNER JOIN list ON s.user_id = list.user_id
    WHERE s.start_time < until AND (isNull(s.end_time) OR s.end_time > since)
        AND a.at > since AND a.at < until AND has(top, a.target)
    UNION DISTINCT
    SELECT list.user_id AS user_id
    FROM replica.moderation_queue AS r INNER JOIN list ON r.user_id = list.user_id
    WHERE r.submitted_at > since AND r.submitted_at < until AND has(top, r.product_id)
)
SELECT
    user_id,
    since AS listed_at,
    listed_on,
    CAST(NULL, 'Nullable(DateTime64(3, \'UTC\'))') AS valid_to,
    toInt64(length(products)) AS product_count,
    toBool(user_id IN (SELECT user_id FROM came)) AS is_eligible,
    if(is_eligible, toBool(user_id IN (SELECT user_id FROM hit)), NULL) AS is_hit
FROM list
