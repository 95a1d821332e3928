-- The mart search_terms once more, from the searches.
WITH final AS (SELECT * FROM [[search_facts]] AS searches WHERE is_final),
next AS (
    SELECT DISTINCT ON (search_term) search_term, next_term, count(*) AS times
    FROM final WHERE next_term IS NOT NULL
    GROUP BY search_term, next_term
    ORDER BY search_term, count(*) DESC, next_term COLLATE "C"
)
SELECT
    search_term,
    count(*) AS search_count,
    count(DISTINCT user_id) AS user_count,
    min(searched_at) AS first_searched_at,
    max(searched_at) AS last_searched_at,
    count(*) FILTER (WHERE is_zero_result) AS zero_result_count,
    (count(*) FILTER (WHERE is_zero_result) * 100)::double precision / count(*) AS zero_result_pct,
    count(*) FILTER (WHERE is_refined) AS refined_count,
    (count(*) FILTER (WHERE is_refined) * 100)::double precision / count(*) AS refined_pct,
    min(next.next_term) AS top_next_term,
    coalesce(min(next.times), 0) AS top_next_count
FROM final LEFT JOIN next USING (search_term)
GROUP BY search_term
