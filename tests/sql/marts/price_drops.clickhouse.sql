-- The mart price_drops once more, from the copies alone: each product's prices as one array, in hundredths.
WITH asked AS (
    SELECT _id, changed_at, toInt64(argMax(price, _position) * 100) AS cents
    FROM replica.product_price_history_price_changes
    WHERE changed_at <= {as_of} AND price > 0
    GROUP BY _id, changed_at
),
series AS (
    SELECT _id, arraySort(groupArray((changed_at, cents))) AS prices FROM asked GROUP BY _id
),
newest AS (
    SELECT p.product_id AS product_id, argMax((p.currency, series.prices), (series.prices[-1].1, p._id)) AS about
    FROM replica.product_price_history AS p INNER JOIN series ON p._id = series._id
    GROUP BY product_id
),
fell AS (
    SELECT
        product_id,
        toString(about.1) AS currency,
        about.2 AS prices,
        n,
        prices[n].1 AS dropped_at,
        prices[n].2 AS now,
        prices[n - 1].2 AS prior,
        toDate32(dropped_at, '{tz}') AS dropped_on,
        -- the price before is in force when the window begins, unless it changed on the day before it or earlier
        arrayMin(arrayFilter(
            (c, k) -> k < n AND toDate32(prices[k + 1].1 - toIntervalMillisecond(1), '{tz}') >= addDays(dropped_on, -30),
            prices.2, arrayEnumerate(prices))) AS lowest
    FROM newest ARRAY JOIN arrayEnumerate(about.2) AS n
    WHERE n > 1 AND prices[n].2 < prices[n - 1].2
)
SELECT
    product_id,
    dropped_at,
    dropped_on,
    currency,
    toDecimal64(now, 2) / 100 AS price,
    toDecimal64(prior, 2) / 100 AS prior_price,
    toDecimal64(lowest, 2) / 100 AS lowest_price_30d,
    (lowest - now) * 100 / lowest AS reduction_pct,
    (prior - now) * 100 / prior AS reduction_vs_prior_pct,
    toBool(now < lowest) AS is_genuine,
    toInt64(dateDiff('day', toDate32(prices[1].1, '{tz}'), dropped_on)) AS history_days,
    toBool(history_days < 30) AS is_new_arrival
FROM fell
