-- The mart search_terms once more, from the searches.
WITH final AS (SELECT * FROM [[search_facts]] WHERE is_final),
pair AS (
    SELECT search_term, assumeNotNull(next_term) AS following, toInt64(count()) AS times
    FROM final WHERE isNotNull(next_term)
    GROUP BY search_term, following
),
next AS (
    SELECT search_term, argMin(following, (-times, following)) AS most, max(times) AS most_times
    FROM pair GROUP BY search_term
),
term AS (
    SELECT
        search_term, count() AS searches, uniqExact(user_id) AS users, min(searched_at) AS first_at,
        max(searched_at) AS last_at, countIf(is_zero_result) AS zeros, countIf(is_refined) AS refinements
    FROM final GROUP BY search_term
)
SELECT
    term.search_term AS search_term,
    toInt64(searches) AS search_count,
    toInt64(users) AS user_count,
    first_at AS first_searched_at,
    last_at AS last_searched_at,
    toInt64(zeros) AS zero_result_count,
    zeros * 100 / searches AS zero_result_pct,
    toInt64(refinements) AS refined_count,
    refinements * 100 / searches AS refined_pct,
    if(most_times = 0, NULL, most) AS top_next_term,
    most_times AS top_next_count
FROM term LEFT JOIN next ON term.search_term = next.search_term
