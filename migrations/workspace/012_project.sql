create table project (
    id                uuid primary key,
    key               text not null,
    name              text not null,
    description       text not null,
    status            text not null,
    lead_id           uuid,
    member_ids        uuid[] not null,
    budget_minutes    integer,
    budget_cents      bigint,
    hourly_rate_cents bigint,
    created_by        uuid not null,
    created_at        timestamptz not null,
    updated_at        timestamptz not null,
    deleted_at        timestamptz,
    version           integer not null,
    position          bigint not null
);
create index on project (key);
create index on project (created_by);
create index on project (lead_id);
create index on project using gin (member_ids) with (fastupdate = off); -- scope project looks here with each question
grant select, insert, update on project to :role;

-- Every key that a task was ever given, such as WEB-12.
create table task_key (
    id          uuid primary key, -- made of the key
    project_key text not null,
    number      integer not null,
    task_id     uuid not null,
    version     integer not null,
    position    bigint not null
);
create index on task_key (project_key, number);
create index on task_key (task_id);
grant select, insert, update on task_key to :role;
