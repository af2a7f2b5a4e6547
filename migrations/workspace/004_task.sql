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
    relations        jsonb not null, -- [{"kind": "blocks", "task_id": "..."}]: each is in the rows of both ends
    rank             text collate "C" not null, -- the order of its bytes is the order by hand
    estimate_minutes integer,
    external_source  text,
    external_id      text,
    created_by       uuid not null,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    completed_at     timestamptz,
    deleted_at       timestamptz,
    deleted_with_id  uuid,
    version          integer not null,
    position         bigint not null
);
create index on task (created_by, id);
create index on task using gin (assignee_ids, viewer_ids, tag_ids); -- each column by itself, too
create index on task (project_id, id);
create index on task (project_id, rank);
create index on task (rank, id);
create index on task ((coalesce(split_part(key, '-', 1) || lpad(split_part(key, '-', 2), 9, '0'), '~') collate "C"), id);
create index on task (external_source, external_id) where external_id is not null;
create index on task (parent_id, id);
create index on task (created_at, id);
create index on task (updated_at, id);
create index on task (coalesce(due_on, 'infinity'::date), id);
create index on task (coalesce(start_on, 'infinity'::date), id);
create index on task (array_position('{none,low,medium,high,urgent}'::text[], priority), id);
create index on task (array_position('{open,in_progress,done,cancelled}'::text[], status), id);
create index on task (id) where deleted_at is not null;
grant select, insert, update on task to :role;

-- Which task has a pair of external_source and external_id: a row for each pair that any task ever had.
create table task_external (
    id       uuid primary key, -- made of the pair
    task_id  uuid,             -- null when the task that had it gave it up
    version  integer not null,
    position bigint not null
);
grant select, insert, update on task_external to :role;

-- How much has come under a task: a row for each that ever had a subtask.
create table task_subtasks (
    id       uuid primary key, -- of the task above
    version  integer not null,
    position bigint not null
);
grant select, insert, update on task_subtasks to :role;
