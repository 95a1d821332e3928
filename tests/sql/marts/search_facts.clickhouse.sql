-- The mart search_facts once more, from the copies alone: each search with the next one of its user.
WITH termed AS (
    SELECT
        _id, query_id, user_id, timestamp AS at, results_count,
        leftUTF8(replaceAll(replaceAll(
            lowerUTF8(trim(replaceRegexpAll(normalizeUTF8NFKC(query_text), '\\s+', ' '))), 'ς', 'σ'), 'ß', 'ss'), 600) AS term
    FROM replica.search_queries
),
told AS (
    SELECT
        *,
        leadInFrame(toNullable(at)) OVER w AS next_at,
        leadInFrame(toNullable(term)) OVER w AS following,
        NOT ifNull(
            toUnixTimestamp64Milli(next_at) - toUnixTimestamp64Milli(at) <= 30000 AND following <> term
            AND (startsWith(ifNull(following, ''), term) OR startsWith(term, ifNull(following, ''))), false
        ) AS final
    FROM termed
    WINDOW w AS (PARTITION BY user_id ORDER BY at, _id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
),
refined AS (
    SELECT
        _id,
        leadInFrame(toNullable(at)) OVER w AS final_at,
        leadInFrame(toNullable(term)) OVER w AS final_term,
        ifNull(toUnixTimestamp64Milli(final_at) - toUnixTimestamp64Milli(at) <= 300000 AND final_term <> term, false)
            AS is_so
    FROM told WHERE final
    WINDOW w AS (PARTITION BY user_id ORDER BY at, _id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
SELECT
    told._id AS _id,
    query_id,
    user_id,
    at AS searched_at,
    toDate32(at, '{tz}') AS searched_on,
    term AS search_term,
    results_count,
    toBool(results_count = 0) AS is_zero_result,
    toBool(final) AS is_final,
    if(final, toBool(is_so), NULL) AS is_refined,
    if(final AND is_so, final_term, NULL) AS next_term
FROM told LEFT JOIN refined ON told._id = refined._id
