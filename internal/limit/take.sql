-- Judges and takes one hit on some counters, whose rows are there and locked: $1 names, $2 subjects, $3 most,
-- $4 span in seconds, $5 whether the limit locks, $6 seconds to add to the clock. It answers with a row for each.
with held as materialized (
    select c.*, r.most, make_interval(secs => r.seconds) as span, r.locks
    from unnest($1::text[], $2::bytea[], $3::integer[], $4::float8[], $5::boolean[]) as r (name, subject, most, seconds, locks)
    join kluis.counter c using (name, subject)
), moment as materialized ( -- one for all, and later than any hit there is
    select greatest(clock_timestamp() + make_interval(secs => $6::float8), (select max(h) + interval '1 microsecond' from held, unnest(hits) h)) as at
), recent as (
    select held.*, at,
        array(select h from unnest(hits) h where h > at - span and h > coalesce(locked_until, '-infinity') order by h) as counting,
        case when locked_until > at - interval '24 hours' then lock_count else 0 end as streak
    from held, moment
), judged as materialized (
    select *,
        case when locked_until > at then locked_until
            when cardinality(counting) >= most then counting[cardinality(counting) - most + 1] + span end as free_at,
        case when locks and cardinality(counting) + 1 >= most then at + span * (2 ^ least(streak, 2)) end as lock
    from recent
), taken as (
    update kluis.counter c set
        hits = j.counting || j.at,
        locked_until = coalesce(j.lock, c.locked_until),
        lock_count = j.streak + case when j.lock is null then 0 else 1 end,
        keep_until = greatest(j.at + j.span, coalesce(j.lock, c.locked_until) + interval '24 hours')
    from judged j
    where c.name = j.name and c.subject = j.subject and not exists (select from judged where free_at is not null)
)
select name, at, extract(epoch from free_at - at)::float8 as wait, lock as locked, streak from judged order by name
