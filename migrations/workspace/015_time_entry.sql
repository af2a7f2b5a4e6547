-- The days are those of Brussels, and follow from the times: reports are of days, and nearly all entries are of one.
create table time_entry (
    id                uuid primary key,
    member_id         uuid not null,
    task_id           uuid,
    project_id        uuid,
    start             timestamptz not null,
    "end"             timestamptz, -- null while a timer runs
    minutes           integer,
    activity          text not null,
    billable          boolean not null,
    hourly_rate_cents bigint,
    amount_cents      bigint not null,
    created_by        uuid not null,
    created_at        timestamptz not null,
    updated_at        timestamptz not null,
    deleted_at        timestamptz,
    version           integer not null,
    position          bigint not null,
    first_day         date generated always as ((start at time zone 'Europe/Brussels')::date) stored,
    last_day          date generated always as ((("end" at time zone 'Europe/Brussels') - interval '1 microsecond')::date) stored
);
create index on time_entry (member_id, start, id);
create index on time_entry (task_id, start);
create index on time_entry (project_id, start);
create index on time_entry (start, id);
create index on time_entry (start) where last_day > first_day;
create index on time_entry (member_id) where "end" is null;
grant select, insert, update on time_entry to :role;
