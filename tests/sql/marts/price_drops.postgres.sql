-- The mart price_drops once more, from the copies alone: for each drop, every price of its product is looked at.
WITH asked AS (
    SELECT DISTINCT ON (_id, changed_at) _id, changed_at, price
    FROM replica.product_price_history_price_changes
    WHERE changed_at <= {as_of} AND price > 0
    ORDER BY _id, changed_at, _position DESC
),
newest AS (
    SELECT DISTINCT ON (product_id) _id, product_id, currency
    FROM replica.product_price_history p
    JOIN (SELECT _id, max(changed_at) AS last_at FROM asked GROUP BY _id) AS last USING (_id)
    ORDER BY product_id, last_at DESC, _id COLLATE "C" DESC
),
price AS (
    SELECT
        product_id, currency, changed_at, price,
        lag(price) OVER w AS prior_price,
        coalesce(lead(changed_at) OVER w, 'infinity') AS until,
        min(changed_at) OVER (PARTITION BY product_id) AS first_at
    FROM newest JOIN asked USING (_id)
    WINDOW w AS (PARTITION BY product_id ORDER BY changed_at)
),
fell AS (
    SELECT
        *,
        (changed_at AT TIME ZONE '{tz}')::date AS dropped_on,
        -- local midnight, 30 days before the day of the drop
        ((changed_at AT TIME ZONE '{tz}')::date - 30)::timestamp AT TIME ZONE '{tz}' AS window_from
    FROM price WHERE price < prior_price
),
judged AS (
    SELECT
        fell.*,
        (
            SELECT min(p.price) FROM price p
            WHERE p.product_id = fell.product_id AND p.changed_at < fell.changed_at AND p.until > fell.window_from
        ) AS lowest
    FROM fell
)
SELECT
    product_id,
    changed_at AS dropped_at,
    dropped_on,
    currency,
    price::text,
    prior_price::text,
    lowest::text AS lowest_price_30d,
    ((lowest - price) * 10000)::double precision / (lowest * 100)::double precision AS reduction_pct,
    ((prior_price - price) * 10000)::double precision / (prior_price * 100)::double precision AS reduction_vs_prior_pct,
    price < lowest AS is_genuine,
    (dropped_on - (first_at AT TIME ZONE '{tz}')::date)::bigint AS history_days,
    dropped_on - (first_at AT TIME ZONE '{tz}')::date < 30 AS is_new_arrival
FROM judged
