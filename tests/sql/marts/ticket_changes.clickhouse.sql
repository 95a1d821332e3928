-- The mart ticket_changes once more, from the versions alone: those of a ticket as one array.
WITH kept AS (
    SELECT
        _id,
        arraySort(v -> v.1, groupArray((
            toUnixTimestamp64Micro(_valid_from),
            toUInt8(assumeNotNull(status) IN ('resolved', 'closed')),
            toUnixTimestamp64Milli(assumeNotNull(updated_at)),
            toUnixTimestamp64Milli(assumeNotNull(created_at)),
            if(isNull(_valid_to), 0, intDiv(toUnixTimestamp64Micro(assumeNotNull(_valid_to)), 1000)),
            toUInt8(isNotNull(_valid_to) AND _removed),
            toString(assumeNotNull(ticket_id)),
            toString(assumeNotNull(issue_type))
        ))) AS v,
        v[-1] AS last,
        arrayFilter(i -> v[i].2 != if(i = 1, 0, v[i - 1].2), arrayEnumerate(v)) AS turns
    FROM history.support_tickets_versions
    GROUP BY _id
),
told AS (
    SELECT
        _id,
        last,
        v[1].1 AS since_us,
        arrayConcat(
            [(last.4, 'created', '')],
            arrayMap(
                i -> (
                    multiIf(
                        i = 1, v[i].3,
                        v[i].3 >= intDiv(v[i - 1].1, 1000) AND v[i].3 <= intDiv(v[i].1, 1000), v[i].3,
                        intDiv(v[i].1, 1000)
                    ),
                    if(v[i].2 = 1, 'solved', 'reopened'),
                    if(i = 1, 'proxy', 'observed')
                ),
                turns
            ),
            if(last.6 = 1 AND last.2 = 0, [(last.5, 'deleted', 'observed')], [])
        ) AS changes,
        arrayJoin(arrayEnumerate(changes)) AS place
    FROM kept
)
SELECT
    _id,
    toInt64(place) AS number,
    last.7 AS ticket_id,
    last.8 AS issue_type,
    toDate32(fromUnixTimestamp64Milli(last.4, 'UTC'), '{tz}') AS opened_on,
    changes[place].2 AS change,
    fromUnixTimestamp64Milli(arrayMax(arrayMap(c -> c.1, arraySlice(changes, 1, place))), 'UTC') AS changed_at,
    toDate32(changed_at, '{tz}') AS changed_on,
    nullIf(changes[place].3, '') AS basis,
    fromUnixTimestamp64Micro(since_us, 'UTC') AS observed_since
FROM told
