-- The mart search_quality_daily once more, from the searches.
SELECT
    searched_on,
    toInt64(countIf(is_final)) AS search_count,
    toInt64(countIf(NOT is_final)) AS typed_count,
    toInt64(uniqExact(user_id)) AS user_count,
    toInt64(countIf(is_final AND is_zero_result)) AS zero_result_count,
    zero_result_count * 100 / nullIf(search_count, 0) AS zero_result_pct,
    toInt64(countIf(is_refined)) AS refined_count,
    refined_count * 100 / nullIf(search_count, 0) AS refined_pct,
    toBool(searched_on < toDate32('{today}')) AS is_complete
FROM [[search_facts]]
GROUP BY searched_on
