-- The mart search_quality_daily once more, from the searches.
SELECT
    searched_on,
    count(*) FILTER (WHERE is_final) AS search_count,
    count(*) FILTER (WHERE NOT is_final) AS typed_count,
    count(DISTINCT user_id) AS user_count,
    count(*) FILTER (WHERE is_final AND is_zero_result) AS zero_result_count,
    (count(*) FILTER (WHERE is_final AND is_zero_result) * 100)::double precision
        / nullif(count(*) FILTER (WHERE is_final), 0) AS zero_result_pct,
    count(*) FILTER (WHERE is_refined) AS refined_count,
    (count(*) FILTER (WHERE is_refined) * 100)::double precision / nullif(count(*) FILTER (WHERE is_final), 0)
        AS refined_pct,
    searched_on < date '{today}' AS is_complete
FROM [[search_facts]] AS searches
GROUP BY searched_on
