-- The mart search_facts once more, from the copies alone. lower() leaves what folding would change: a final sigma, ß.
WITH termed AS (
    SELECT
        *,
        left(
            replace(replace(
                lower(trim(regexp_replace(normalize(query_text, NFKC), '\s+', ' ', 'g')) COLLATE "pg_c_utf8"),
                'ς', 'σ'), 'ß', 'ss'),
            600
        ) COLLATE "C" AS term
    FROM replica.search_queries
),
finals AS (
    SELECT
        t.*,
        NOT coalesce(
            next.timestamp - t.timestamp <= interval '30 seconds' AND next.term <> t.term
            AND (starts_with(next.term, t.term) OR starts_with(t.term, next.term)), false
        ) AS is_final
    FROM termed t
    LEFT JOIN LATERAL (
        SELECT timestamp, term FROM termed n
        WHERE n.user_id = t.user_id AND (n.timestamp, n._id) > (t.timestamp, t._id)
        ORDER BY timestamp, _id LIMIT 1
    ) AS next ON true
)
SELECT
    f._id,
    f.query_id,
    f.user_id,
    f.timestamp AS searched_at,
    (f.timestamp AT TIME ZONE '{tz}')::date AS searched_on,
    f.term AS search_term,
    f.results_count,
    f.results_count = 0 AS is_zero_result,
    f.is_final,
    CASE WHEN f.is_final
        THEN coalesce(next.timestamp - f.timestamp <= interval '5 minutes' AND next.term <> f.term, false)
    END AS is_refined,
    CASE WHEN f.is_final AND next.timestamp - f.timestamp <= interval '5 minutes' AND next.term <> f.term
        THEN next.term END AS next_term
FROM finals f
LEFT JOIN LATERAL (
    SELECT timestamp, term FROM finals n
    WHERE n.user_id = f.user_id AND n.is_final AND (n.timestamp, n._id) > (f.timestamp, f._id)
    ORDER BY timestamp, _id LIMIT 1
) AS next ON true
