create table task (
    id               uuid primary key,
    title            text not null,
    description      text not null,
    status           text not null,
    priority         text not null,
    start_on         date,
    due_on           date,
    project_id       uuid,
    key              text,
    parent_id        uuid,
    assignee_ids     uuid[] not null,
    viewer_ids       uuid[] not null,
    tag_ids          uuid[] not null,
    estimate_minutes integer,
    created_by       uuid not null,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    completed_at     timestamptz,
    deleted_at       timestamptz,
    version          integer not null,
    position         bigint not null
);
create index on task (created_by);
create index on task using gin (assignee_ids);
create index on task using gin (viewer_ids);
create index on task using gin (tag_ids);
create index on task (project_id, id);
create index on task (parent_id);
grant select, insert, update on task to :role;
