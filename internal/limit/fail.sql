-- Settles a hit as failed, on counters whose rows are locked: $1 names, $2 subjects, $3 circles, $4 most, $5 span in
-- seconds, $6 whether the limit locks, $7 the hit, $8 seconds to add to the clock, $9 seconds for which an outcome may stay
-- open. It answers with a row for each that it locks.
with held as materialized (
    select c.*, r.most, make_interval(secs => r.seconds) as span, r.locks, clock_timestamp() + make_interval(secs => $8::float8) as at
    from unnest($1::text[], $2::bytea[], $3::bytea[], $4::integer[], $5::float8[], $6::boolean[]) as r (name, subject, circle, most, seconds, locks)
    join kluis.counter c using (name, subject, circle)
), settled as (
    select *, array(select h from unnest(hits) h where h > at - span and h > coalesce(locked_until, '-infinity')
            and (h = $7 or h <> all(array(select o from unnest(open) o where o > at - make_interval(secs => $9::float8))))) as failed,
        case when locked_until > at - interval '24 hours' then lock_count else 0 end as streak
    from held
), judged as materialized (
    select *, case when locks and $7 = any(failed) and cardinality(failed) >= most then at + span * (2 ^ least(streak, 2)) end as lock from settled
), kept as (
    update kluis.counter c set
        open = array_remove(c.open, $7),
        locked_until = coalesce(j.lock, c.locked_until),
        lock_count = case when j.lock is null then c.lock_count else j.streak + 1 end,
        keep_until = greatest(c.keep_until, j.lock + interval '24 hours')
    from judged j where (c.name, c.subject, c.circle) = (j.name, j.subject, j.circle)
)
select lock as locked, streak from judged where lock is not null
