-- Judges and takes one hit on some counters, whose rows are there and locked: $1 names, $2 subjects, $3 circles, $4 most,
-- $5 span in seconds, $6 seconds to add to the clock, $7 whether the outcome is still open, $8 seconds for which it may
-- stay so. It answers with a row for each.
with held as materialized (
    select c.*, r.most, make_interval(secs => r.seconds) as span
    from unnest($1::text[], $2::bytea[], $3::bytea[], $4::integer[], $5::float8[]) as r (name, subject, circle, most, seconds)
    join kluis.counter c using (name, subject, circle)
), moment as materialized ( -- one for all, and later than any hit there is
    select greatest(clock_timestamp() + make_interval(secs => $6::float8), (select max(h) + interval '1 microsecond' from held, unnest(hits) h)) as at
), recent as (
    select held.*, at,
        array(select h from unnest(hits) h where h > at - span and h > coalesce(locked_until, '-infinity') order by h) as counting,
        array(select h from unnest(open) h where h > at - make_interval(secs => $8::float8) and h > coalesce(locked_until, '-infinity')) as waiting
    from held, moment
), sorted as (
    select *, array(select h from unnest(counting) h where h <> all(waiting) order by h) as settled from recent
), judged as materialized (
    select *, case when locked_until > at then locked_until
        when cardinality(settled) >= most then settled[cardinality(settled) - most + 1] + span end as free_at,
        cardinality(counting) >= most as crowded
    from sorted
), taken as (
    update kluis.counter c set
        hits = j.counting || j.at,
        open = case when $7 then j.waiting || j.at else '{}' end,
        keep_until = greatest(j.at + j.span, c.locked_until + interval '24 hours')
    from judged j
    where (c.name, c.subject, c.circle) = (j.name, j.subject, j.circle)
        and not exists (select from judged where free_at is not null or crowded)
)
select name, at, extract(epoch from free_at - at)::float8 as wait, crowded from judged order by name
