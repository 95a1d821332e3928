-- The mart recommendation_facts once more, from the copies alone: list by list.
WITH list AS (
    SELECT
        *,
        least(week_over, valid_to) AS until,
        (since AT TIME ZONE '{tz}')::date AS listed_on,
        (valid_to AT TIME ZONE '{tz}')::date AS ended_on
    FROM (
        SELECT
            user_id,
            recommended_products,
            last_updated AS since,
            last_updated + interval '168 hours' AS week_over,
            coalesce(
                least(
                    lead(last_updated) OVER (PARTITION BY user_id ORDER BY last_updated),
                    CASE WHEN _removed THEN gone_at END
                ),
                gone_at
            ) AS valid_to
        FROM (
            SELECT DISTINCT ON (user_id, last_updated)
                *,
                CASE WHEN _valid_to IS NOT NULL THEN greatest(date_trunc('milliseconds', _valid_to), last_updated) END
                    AS gone_at
            FROM history.user_recommendations_versions
            ORDER BY user_id, last_updated, _valid_from DESC, _id COLLATE "C" DESC
        ) AS shown_last
    ) AS one
),
used AS (
    SELECT
        *,
        cardinality(recommended_products) > 0 AND week_over <= {as_of} AND EXISTS (
            SELECT 1 FROM replica.user_sessions s
            WHERE s.user_id = list.user_id AND s.start_time >= since AND s.start_time < until
        ) AS is_eligible,
        EXISTS (
            SELECT 1 FROM replica.user_sessions s JOIN replica.user_sessions_actions a USING (_id)
            WHERE s.user_id = list.user_id AND s.start_time < until AND (s.end_time IS NULL OR s.end_time > since)
                AND a.at > since AND a.at < until AND a.target = ANY (recommended_products[1:10])
        ) OR EXISTS (
            SELECT 1 FROM replica.moderation_queue r
            WHERE r.user_id = list.user_id AND r.submitted_at > since AND r.submitted_at < until
                AND r.product_id = ANY (recommended_products[1:10])
        ) AS is_hit,
        (
            SELECT a.target FROM replica.user_sessions s JOIN replica.user_sessions_actions a USING (_id)
            WHERE s.user_id = list.user_id AND s.start_time < until AND (s.end_time IS NULL OR s.end_time > since)
                AND a.at > since AND a.at < until
            ORDER BY a.target = ANY (recommended_products[1:10]) DESC, a.at DESC, a.target COLLATE "C" DESC
            LIMIT 1
        ) AS acted_target
    FROM list
)
SELECT
    user_id,
    since AS listed_at,
    listed_on,
    valid_to,
    cardinality(recommended_products)::bigint AS product_count,
    is_eligible,
    CASE WHEN is_eligible THEN is_hit END AS is_hit,
    acted_target
FROM used
