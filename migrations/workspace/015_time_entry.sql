-- The days are those of Brussels, and follow from the times: reports are of days, and nearly all entries are of one. What totals read comes
-- first, because Postgres reads a row from its beginning.
create table time_entry (
    id                uuid primary key,
    member_id         uuid not null,
    amount_cents      bigint not null,
    start             timestamptz not null,
    billable          boolean not null,
    minutes           integer,
    first_day         date generated always as ((start at time zone 'Europe/Brussels')::date) stored,
    over_midnight     boolean generated always as ((("end" at time zone 'Europe/Brussels') - interval '1 microsecond')::date > (start at time zone 'Europe/Brussels')::date) stored,
    deleted_at        timestamptz,
    project_id        uuid,
    task_id           uuid,
    "end"             timestamptz, -- null while a timer runs
    hourly_rate_cents bigint,
    activity          text not null,
    created_by        uuid not null,
    created_at        timestamptz not null,
    updated_at        timestamptz not null,
    version           integer not null,
    position          bigint not null
);
create index on time_entry (member_id, start, id);
create index on time_entry (task_id, start);
create index on time_entry (project_id, start);
create index on time_entry (start, id);
create index on time_entry (start) where over_midnight;
create index on time_entry (member_id) where "end" is null;
grant select, insert, update on time_entry to :role;

-- Sums over the entries that have ended, without the deleted ones: a row for each day, of all tasks (task_id is null), and a row for each task,
-- of all days (day is null). The fold keeps them in step with the entries.
create table time_sum (
    id         uuid primary key, -- made of the five columns that follow
    member_id  uuid not null,
    project_id uuid,
    task_id    uuid,
    billable   boolean not null,
    day        date,
    entries    bigint not null, -- or parts of entries that are over midnight: with the last one the row goes
    minutes    bigint not null,
    cents      bigint not null
);
create index on time_sum (project_id);
create index on time_sum (day);
create index on time_sum (id) where entries = 0;
grant select, insert, update, delete on time_sum to :role;
